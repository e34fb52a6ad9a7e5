//! Debian's packages for other architectures, unpacked below the target folder and installed nowhere.
//!
//! The system's own apt never learns of a foreign architecture: apt runs on folders of its own, with the mirror of the
//! system's sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::guest::arch::Arch;
use crate::program::Said;

const SUITE: &str = "bookworm";
/// A kernel's modules are found by their dependencies, which no package brings along.
const UNPACK: &str = "dpkg -x *.deb tree && chmod 755 tree && \
    { [ ! -d tree/lib/modules ] || busybox depmod -b tree \"$(ls tree/lib/modules)\"; }";
/// Of the package debian-archive-keyring, which every Debian has.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The content of a package of Debian 12, fetched once for a target folder; of one that has none of its own, such as
/// `linux-image-cloud-arm64`, what it depends on.
pub fn unpacked(arch: Arch, package: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has an executable");
    let target = test.ancestors().nth(3).expect("tests run out of target/PROFILE/deps");
    let tree = target.join("packages").join(format!("{package}-{}", arch.debian()));
    if tree.exists() {
        return tree;
    }
    fs::create_dir_all(target.join("packages")).expect("a folder in the target folder");
    let draft = tempfile::tempdir_in(target).expect("a folder in the target folder");
    let config = private_apt(draft.path(), arch);
    let apt = |arguments: &[&str]| {
        Said::by(Command::new("apt-get").env("APT_CONFIG", &config).args(arguments).current_dir(draft.path())).ok();
    };
    apt(&["-q", "update"]);
    let mut depends = Command::new("apt-cache");
    let depends = Said::by(depends.env("APT_CONFIG", &config).args(["depends", package]));
    let versioned = |word: &&str| word.starts_with("linux-image-") && word.contains('.');
    let package = depends.ok().split_whitespace().find(versioned).unwrap_or(package);
    apt(&["-q", "download", &format!("{package}:{}", arch.debian())]);
    Said::by(Command::new("sh").args(["-c", UNPACK]).current_dir(draft.path())).ok();
    // Another test may have been first, with the same content.
    drop(fs::rename(draft.path().join("tree"), &tree));
    tree
}

/// Folders for apt in `folder`, with one source; the configuration's file.
fn private_apt(folder: &Path, arch: Arch) -> PathBuf {
    for dir in ["lists/partial", "cache/archives/partial", "parts"] {
        fs::create_dir_all(folder.join(dir)).expect("a folder for apt");
    }
    let (mirror, at, arch) = (system_mirror(), folder.display(), arch.debian());
    fs::write(folder.join("status"), "").expect("a file for apt");
    fs::write(folder.join("list"), format!("deb [arch={arch} signed-by={KEYRING}] {mirror} {SUITE} main\n"))
        .expect("a file for apt");
    let config = format!(
        "APT::Architecture \"{arch}\"; APT::Architectures {{ \"{arch}\"; }}; APT::Sandbox::User \"root\";\n\
         Dir::State::lists \"{at}/lists\"; Dir::State::status \"{at}/status\"; Dir::Cache \"{at}/cache\";\n\
         Dir::Etc::sourcelist \"{at}/list\"; Dir::Etc::sourceparts \"{at}/parts\"; Acquire::Languages \"none\";\n"
    );
    let file = folder.join("apt.conf");
    fs::write(&file, config).expect("a file for apt");
    file
}

/// Where the system has the suite from.
fn system_mirror() -> String {
    let format = "$(CREATED_BY) $(CODENAME) $(COMPONENT) $(SITE)";
    let said = Said::by(Command::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]));
    let mut found = said.ok().lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let ours = found.find(|words| words.get(1..3) == Some(&[SUITE, "main"]));
    ours.unwrap_or_else(|| panic!("apt has no {SUITE} main: run apt-get update\n{}", said.out))[3].to_owned()
}
