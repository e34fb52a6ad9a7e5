//! Kernel, initramfs and command line of a finished image, for machines that boot without firmware: QEMU.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::firmware::{CMDLINE, INITRAMFS, KERNEL};
use crate::layout;
use crate::tools::{run, tool};

const CMDLINE_BYTES_MAX: u64 = 2048;
const FAT: u8 = 0x0c;

#[derive(Debug, Clone)]
pub struct BootFiles {
    pub kernel: PathBuf,
    pub initramfs: PathBuf,
    /// The kernel's command line as the board's firmware would give it.
    pub cmdline: String,
    /// Device trees of the board, if it has any.
    pub device_trees: PathBuf,
}

/// Takes them out of an image that is not packed, into a folder.
pub fn boot_files(image: &Path, folder: &Path) -> Result<BootFiles> {
    let fat = fat(image)?;
    let device_trees = folder.join("dtb");
    fs::create_dir_all(&device_trees).with_context(|| format!("cannot write to {}", folder.display()))?;
    let take =
        |name: &str, to: &Path| run(tool("mcopy").args(["-n", "-o", "-i", &fat]).arg(format!("::{name}")).arg(to));
    for name in [KERNEL, INITRAMFS, CMDLINE] {
        take(name, folder).with_context(|| format!("{} holds no {name}", image.display()))?;
    }
    // A board without firmware has none.
    drop(take("*.dtb", &device_trees));
    let mut cmdline = String::new();
    let file = File::open(folder.join(CMDLINE)).context("cannot read the command line")?;
    file.take(CMDLINE_BYTES_MAX).read_to_string(&mut cmdline).context("the command line is no text")?;
    let (kernel, initramfs) = (folder.join(KERNEL), folder.join(INITRAMFS));
    Ok(BootFiles { kernel, initramfs, cmdline: cmdline.trim().to_owned(), device_trees })
}

/// A file of the FAT partition, as text, at most so large.
pub fn read(image: &Path, name: &str, bytes_max: usize) -> Result<String> {
    let folder = tempfile::tempdir().context("no folder for a copy")?;
    let copy = folder.path().join("copy");
    run(tool("mcopy").args(["-n", "-o", "-i", &fat(image)?]).arg(format!("::{name}")).arg(&copy))
        .with_context(|| format!("{} holds no {name}", image.display()))?;
    let mut text = String::new();
    let file = File::open(copy).context("cannot read a copy")?;
    file.take(bytes_max as u64).read_to_string(&mut text).with_context(|| format!("{name} is no text"))?;
    Ok(text)
}

/// The FAT partition as mtools names it.
fn fat(image: &Path) -> Result<String> {
    let mut sector = [0; layout::SECTOR_BYTES as usize];
    File::open(image)
        .and_then(|mut file| file.read_exact(&mut sector))
        .with_context(|| format!("cannot read {}", image.display()))?;
    let first = layout::read(&sector).with_context(|| format!("{} is no card", image.display()))?[0];
    if first.kind != FAT {
        bail!("{} is no card: its first partition is none of FAT", image.display());
    }
    Ok(format!("{}@@{}", image.display(), first.start_bytes))
}
