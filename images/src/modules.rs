//! The kernel's modules that a list takes, with what they need, unpacked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::tools::{run, tool};
use crate::{data, patterns};

/// What `depmod` needs to know of the kernel itself.
const ABOUT: [&str; 3] = ["modules.builtin", "modules.builtin.modinfo", "modules.order"];

/// A kernel's version, as its folder of modules is named.
pub fn version(kernel: &Path) -> Result<String> {
    let folder = kernel.join("usr/lib/modules");
    let found = fs::read_dir(&folder).context("the kernel's package has no modules")?.flatten();
    let mut versions: Vec<String> = found.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    match (versions.pop(), versions.is_empty()) {
        (Some(version), true) => Ok(version),
        _ => bail!("the kernel's packages are of several versions"),
    }
}

/// Puts the modules of a list into a tree (below `lib/modules`), with the files that modprobe reads.
pub fn install(kernel: &Path, list: &str, tree: &Path) -> Result<()> {
    let version = version(kernel)?;
    let from = kernel.join("usr/lib/modules").join(&version);
    if !from.join("modules.dep").exists() {
        depmod(kernel, &version)?;
    }
    let dependencies = fs::read_to_string(from.join("modules.dep")).context("depmod has left no modules.dep")?;
    let chosen = choose(&dependencies, &data::lines(list));
    let to = tree.join("lib/modules").join(&version);
    for name in chosen.iter().map(String::as_str).chain(ABOUT) {
        if ABOUT.contains(&name) && !from.join(name).exists() {
            continue;
        }
        let file = to.join(name);
        fs::create_dir_all(file.parent().unwrap_or(&to)).context("no folder for modules")?;
        fs::copy(from.join(name), &file).with_context(|| format!("cannot copy the module {name}"))?;
    }
    // Within a compressed file system they would be packed twice, and every load would unpack them slowly.
    let unpack = "find \"$1\" -name '*.ko.xz' -print0 | xargs -0 -r xz -d && find \"$1\" -name '*.ko.zst' -print0 | xargs -0 -r zstd -q -d --rm";
    run(tool("sh").args(["-c", unpack, "sh"]).arg(&to)).context("cannot unpack the kernel's modules")?;
    depmod(tree, &version)
}

fn depmod(tree: &Path, version: &str) -> Result<()> {
    run(tool("depmod").arg("-b").arg(tree).arg(version))
}

/// The modules that the list takes, and all that these depend on.
fn choose(dependencies: &str, list: &[&str]) -> BTreeSet<String> {
    let needs: BTreeMap<&str, Vec<&str>> = dependencies
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, rest)| (name, rest.split_whitespace().collect()))
        .collect();
    let is_taken = |name: &&&str| patterns::takes(list, name.trim_start_matches("kernel/"));
    let mut open: Vec<&str> = needs.keys().filter(is_taken).copied().collect();
    let mut chosen = BTreeSet::new();
    while let Some(name) = open.pop() {
        if chosen.insert(name.to_owned()) {
            open.extend(needs.get(name).into_iter().flatten());
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn a_module_brings_what_it_needs() {
        let dependencies = "kernel/net/a.ko.xz: kernel/lib/b.ko.xz\nkernel/lib/b.ko.xz: kernel/lib/c.ko.xz\n\
                            kernel/lib/c.ko.xz:\nkernel/sound/d.ko.xz:\n";
        let chosen: Vec<String> = choose(dependencies, &["net/*"]).into_iter().collect();
        assert_eq!(chosen, ["kernel/lib/b.ko.xz", "kernel/lib/c.ko.xz", "kernel/net/a.ko.xz"]);
    }
}
