//! The initramfs: busybox, the drivers that find the card, and `boards/init`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::tools::{run, tool};
use crate::{data, modules, tree};

const FOLDER: u32 = 0o040_755;
const DEVICE: u32 = 0o020_600;

/// Makes it from the root's busybox and the kernel's modules.
pub fn make(root: &Path, kernel: &Path, to: &Path) -> Result<()> {
    let draft = tempfile::tempdir_in(to.parent().unwrap_or(to)).context("no folder for the initramfs")?;
    let files = draft.path().join("files");
    fs::create_dir_all(files.join("bin")).context("no folder for the initramfs")?;
    fs::copy(root.join("usr/bin/busybox"), files.join("bin/busybox")).context("busybox-static has no busybox")?;
    modules::install(kernel, "modules-early", &files)?;
    tree::put(&files, "init", data::text("init"), 0o755)?;
    let archive = draft.path().join("initramfs");
    fs::write(&archive, pack(&files)?).context("cannot write the initramfs")?;
    run(tool("zstd").args(["-q", "-f", "-19", "-T0"]).arg(&archive).arg("-o").arg(to))
        .context("cannot pack the initramfs")
}

/// A cpio archive as the kernel reads it ("newc"), always the same for the same files.
fn pack(files: &Path) -> Result<Vec<u8>> {
    let mut archive = Archive { bytes: Vec::new(), number: 0 };
    for name in ["dev", "proc", "sys", "run", "new"] {
        archive.add(name, FOLDER, (0, 0), &[]);
    }
    archive.add("dev/console", DEVICE, (5, 1), &[]);
    let mut paths = Vec::new();
    walk(files, &mut paths)?;
    for path in paths {
        let found = path.metadata().with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.strip_prefix(files).unwrap_or(&path).to_string_lossy().into_owned();
        if found.is_dir() {
            archive.add(&name, FOLDER, (0, 0), &[]);
        } else {
            let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            archive.add(&name, (found.mode() & 0o170_000) | (found.permissions().mode() & 0o755), (0, 0), &content);
        }
    }
    archive.add("TRAILER!!!", 0, (0, 0), &[]);
    Ok(archive.bytes)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let is_folder = path.is_dir();
        found.push(path.clone());
        if is_folder {
            walk(&path, found)?;
        }
    }
    Ok(())
}

struct Archive {
    bytes: Vec<u8>,
    number: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.number += 1;
        let fields =
            [self.number, mode, 0, 0, 1, 0, content.len() as u32, 0, 0, device.0, device.1, name.len() as u32 + 1, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            // Writing to memory does not fail.
            drop(write!(self.bytes, "{field:08x}"));
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::pack;

    #[test]
    fn an_archive_is_the_same_for_the_same_files() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("bin")).expect("a folder");
        std::fs::write(folder.path().join("bin/x"), "content").expect("a file");
        let first = pack(folder.path()).expect("packed");
        std::fs::write(folder.path().join("bin/x"), "content").expect("a file");
        assert_eq!(first, pack(folder.path()).expect("packed"));
        let text = String::from_utf8_lossy(&first);
        assert!(text.starts_with("070701") && text.contains("bin/x\0") && text.contains("TRAILER!!!"), "{text}");
        assert_eq!(first.len() % 4, 0);
    }
}
