//! The FAT partition: what a board's firmware reads, the kernel, and the card's settings.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::board::{Board, Profile};
use crate::layout::BOOT;
use crate::root::{Base, Kernel};
use crate::tools::{run, tool};
use crate::{data, tree};

pub const KERNEL: &str = "vmlinuz";
pub const INITRAMFS: &str = "initrd.img";
pub const CMDLINE: &str = "cmdline.txt";
const SETTINGS: &str = "bramble.toml";
const LABEL: &str = "BRAMBLE";

/// Of the Pi's firmware: not the variants for cameras and for debugging.
const PI_FILES: [&str; 9] = [
    "bootcode.bin",
    "fixup.dat",
    "fixup4.dat",
    "fixup4cd.dat",
    "fixup_cd.dat",
    "start.elf",
    "start4.elf",
    "start4cd.elf",
    "start_cd.elf",
];

/// Makes the partition as a file, without settings.
pub fn make(board: Board, profile: &Profile, base: &Base, disk_id: u32, file: &Path) -> Result<()> {
    let disk = fs::File::create(file).context("no room for the FAT partition")?;
    disk.set_len(BOOT.bytes).context("no room for the FAT partition")?;
    let id = format!("{disk_id:08x}");
    run(tool("mkfs.vfat").args(["-F", "32", "-s", "4", "-n", LABEL, "-i", &id, "--invariant"]).arg(file))?;
    let draft = tempfile::tempdir_in(file.parent().unwrap_or(file)).context("no folder for the FAT partition")?;
    let names = [format!("{}/cmdline.txt", board.name()), format!("{}/config.txt", board.name())];
    let line = data::text(&names[0]).trim_end();
    tree::put(draft.path(), CMDLINE, &format!("{line} bramble.disk={id} bramble.slot=a\n"), 0o644)?;
    if !data::text(&names[1]).is_empty() {
        tree::put(draft.path(), "config.txt", data::text(&names[1]), 0o644)?;
    }
    let kernel = Kernel::of(base)?;
    fs::copy(&kernel.image, draft.path().join(KERNEL)).context("cannot copy the kernel")?;
    let mut files: Vec<PathBuf> = [KERNEL, CMDLINE, "config.txt"].iter().map(|name| draft.path().join(name)).collect();
    files.retain(|file| file.exists());
    files.push(base.path(INITRAMFS));
    if profile.firmware {
        files.extend(PI_FILES.map(|name| base.path("firmware/usr/lib/raspi-firmware").join(name)));
    }
    for pattern in &profile.device_trees {
        let folder = kernel.device_trees.as_deref().context("the kernel's package has no device trees")?;
        let found = tree::expand(folder, &format!("{pattern}.dtb"));
        files.extend(found);
    }
    copy(file, &files, "::")?;
    if profile.firmware {
        // Firmware of the D0 Pi 5 asks for it by another name than upstream gives it.
        let other = files.iter().find(|file| file.ends_with("bcm2712-d-rpi-5-b.dtb"));
        if let Some(other) = other {
            copy(file, std::slice::from_ref(other), "::bcm2712d0-rpi-5-b.dtb")?;
        }
    }
    Ok(())
}

/// Puts the settings in.
pub fn write_settings(file: &Path, settings: &str) -> Result<()> {
    let draft = tempfile::tempdir().context("no folder for the settings")?;
    tree::put(draft.path(), SETTINGS, settings, 0o600)?;
    copy(file, &[draft.path().join(SETTINGS)], "::")
}

fn copy(disk: &Path, files: &[PathBuf], to: &str) -> Result<()> {
    let mut command = tool("mcopy");
    command.arg("-o").arg("-i").arg(disk).args(files).arg(to);
    run(&mut command).context("cannot write to the FAT partition")
}
