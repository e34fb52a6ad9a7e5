//! Lists the files that a card's root takes over as they are, so that adding one is adding a file.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Folder beside this file, and where its files lie in the root.
const FOLDERS: [(&str, &str); 3] =
    [("boards/root", ""), ("units", "etc/systemd/system/"), ("../systemd", "usr/lib/systemd/system/")];

fn main() -> io::Result<()> {
    let own = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut list = String::from("&[\n");
    for (folder, place) in FOLDERS {
        let folder = own.join(folder);
        println!("cargo::rerun-if-changed={}", folder.display());
        let mut files = Vec::new();
        walk(&folder, &mut files)?;
        files.sort();
        for file in files {
            let name = file.strip_prefix(&folder).unwrap_or(&file);
            let name = name.display().to_string();
            let place = match folder.ends_with("systemd") {
                false => Some(format!("{place}{name}")),
                true => shared(&name).map(|name| format!("{place}{name}")),
            };
            if let Some(place) = place {
                let _ = writeln!(list, "({place:?}, include_str!({file:?})),");
            }
        }
    }
    list.push(']');
    fs::write(PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("root.rs"), list)
}

/// Of systemd/, the units and what goes with them: the rest is for machines with package managers.
fn shared(name: &str) -> Option<&str> {
    match name {
        // As scripts/install-units has it.
        "mounts.conf" => Some("var-lib-bramble-.mount.d/bramble.conf"),
        _ => Some(name).filter(|name| name.ends_with(".service") && !name.contains('/')),
    }
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { walk(&path, found)? } else { found.push(path) }
    }
    Ok(())
}
