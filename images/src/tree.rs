//! The root's files: Debian's packages unpacked, what a card has no use for left out, and what maintainer scripts would do
//! done here.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::tools::{run, tool};
use crate::{data, patterns};

/// Folders that Debian's packages share as links.
const MERGED: [&str; 3] = ["bin", "sbin", "lib"];

/// Mount points.
const EMPTY: [&str; 10] =
    ["boot/firmware", "dev", "proc", "root", "run", "sys", "tmp", "var", "usr/lib/bramble", "usr/lib/firmware"];

/// Unpacks packages over each other.
pub fn unpack(packages: &[PathBuf], to: &Path) -> Result<()> {
    fs::create_dir_all(to.join("usr")).context("no folder for the root")?;
    for name in MERGED {
        fs::create_dir_all(to.join("usr").join(name)).context("no folder for the root")?;
        if !to.join(name).exists() {
            symlink(format!("usr/{name}"), to.join(name)).context("no folder for the root")?;
        }
    }
    for package in packages {
        // `dpkg-deb -x` would put a folder in the place of a link.
        let unpacked = run(tool("sh")
            .args([
                "-c",
                "dpkg-deb --fsys-tarfile \"$1\" | tar -x --keep-directory-symlink --no-same-owner -C \"$2\"",
                "sh",
            ])
            .arg(package)
            .arg(to));
        unpacked.with_context(|| format!("cannot unpack {}", package.display()))?;
    }
    Ok(())
}

/// Makes a bootable root of unpacked packages.
pub fn furnish(tree: &Path) -> Result<()> {
    let accounts = Accounts::read(tree)?;
    prune(tree)?;
    for name in EMPTY {
        fs::create_dir_all(tree.join(name)).with_context(|| format!("cannot create {name}"))?;
    }
    busybox(tree)?;
    for (path, text) in data::ROOT {
        let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
        put(tree, path, text, mode)?;
    }
    accounts.write(tree)?;
    put(tree, "etc/machine-id", "", 0o644)?;
    put(tree, "etc/hostname", "bramble\n", 0o644)?;
    put(tree, "etc/resolv.conf", "", 0o644)?;
    put(tree, "etc/fstab", "", 0o644)?;
    for line in data::lines("links") {
        let (place, target) = line.split_once(' ').with_context(|| format!("boards/links: {line}"))?;
        link(tree, place, target)?;
    }
    for (path, text) in data::ROOT {
        want(tree, path, text)?;
    }
    Ok(())
}

/// Enables a unit as `systemctl enable` would: by its `WantedBy=`.
fn want(tree: &Path, path: &str, unit: &str) -> Result<()> {
    let Some((folder, name)) = path.rsplit_once('/').filter(|(folder, _)| folder.ends_with("systemd/system")) else {
        return Ok(());
    };
    for target in unit.lines().filter_map(|line| line.strip_prefix("WantedBy=")).flat_map(str::split_whitespace) {
        link(tree, &format!("etc/systemd/system/{target}.wants/{name}"), &format!("/{folder}/{name}"))?;
    }
    Ok(())
}

pub fn put(tree: &Path, path: &str, text: &str, mode: u32) -> Result<()> {
    let file = inside(tree, path)?;
    drop(fs::remove_file(&file));
    fs::write(&file, text).with_context(|| format!("cannot write {path}"))?;
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).with_context(|| format!("cannot write {path}"))
}

pub fn link(tree: &Path, path: &str, target: &str) -> Result<()> {
    let file = inside(tree, path)?;
    drop(fs::remove_file(&file));
    symlink(target, &file).with_context(|| format!("cannot write {path}"))
}

/// A place in the tree whose folder is there. Links in a foreign root point to this machine: none but ours is followed.
fn inside(tree: &Path, path: &str) -> Result<PathBuf> {
    let mut folder = tree.to_owned();
    let path = Path::new(path);
    for part in path.parent().into_iter().flat_map(Path::components) {
        let Component::Normal(part) = part else { bail!("{} is no plain path", path.display()) };
        folder.push(part);
        let is_link = folder.symlink_metadata().is_ok_and(|found| found.is_symlink());
        if is_link && !MERGED.iter().any(|name| *name == part && folder.parent() == Some(tree)) {
            bail!("{} is a link in Debian's packages", folder.display());
        }
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder.join(path.file_name().context("a path has a name")?))
}

fn prune(tree: &Path) -> Result<()> {
    for line in data::lines("prune") {
        for path in expand(tree, line) {
            let removed = match path.symlink_metadata() {
                Ok(found) if found.is_dir() => fs::remove_dir_all(&path),
                Ok(_) => fs::remove_file(&path),
                Err(_) => Ok(()),
            };
            removed.with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Paths below the tree that a pattern fits, part by part.
pub fn expand(tree: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![tree.to_owned()];
    for part in pattern.split('/') {
        let next = found.iter().flat_map(|folder| {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries.filter(|entry| patterns::fits(part, &entry.file_name().to_string_lossy())).map(|entry| entry.path())
        });
        found = next.collect();
        found.sort();
    }
    found
}

/// Busybox stands in for every tool that has no package of its own on the card.
fn busybox(tree: &Path) -> Result<()> {
    let list = include_str!("../boards/applets");
    for name in list.split_whitespace() {
        let places = ["usr/bin", "usr/sbin"].map(|folder| tree.join(folder).join(name));
        if places.iter().all(|place| place.symlink_metadata().is_err()) {
            link(tree, &format!("usr/bin/{name}"), "busybox")?;
        }
    }
    Ok(())
}

/// Users and groups, as base-passwd's script and systemd-sysusers would make them.
struct Accounts {
    users: String,
    groups: String,
}

impl Accounts {
    fn read(tree: &Path) -> Result<Self> {
        let master = |name: &str| {
            let path = tree.join("usr/share/base-passwd").join(name);
            fs::read_to_string(&path).with_context(|| format!("base-passwd has no {name}"))
        };
        Ok(Self { users: master("passwd.master")?.replace("/bin/bash", "/bin/sh"), groups: master("group.master")? })
    }

    fn write(mut self, tree: &Path) -> Result<()> {
        for (more, all, path) in
            [("etc/passwd.more", &mut self.users, "etc/passwd"), ("etc/group.more", &mut self.groups, "etc/group")]
        {
            let file = inside(tree, more)?;
            all.push_str(&fs::read_to_string(&file).with_context(|| format!("boards/root/{more} is missing"))?);
            fs::remove_file(&file).with_context(|| format!("cannot remove {more}"))?;
            put(tree, path, all, 0o644)?;
        }
        Ok(())
    }
}
