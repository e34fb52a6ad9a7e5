//! The machine's own programs that a card is built with, and how they are run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Program and the Debian package that has it.
const NEEDED: &[(&str, &str)] = &[
    ("apt-get", "apt"),
    ("dpkg-deb", "dpkg"),
    ("tar", "tar"),
    ("depmod", "kmod"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mkfs.vfat", "dosfstools"),
    ("mcopy", "mtools"),
    ("mksquashfs", "squashfs-tools"),
    ("zstd", "zstd"),
];

/// Everything that we make bears this time: two builds of the same inputs are the same bytes.
pub const EPOCH: &str = "1735689600";

const ERROR_LINES_MAX: usize = 12;

/// Where a program lies. The system's own folders are often missing in a person's PATH.
fn found(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Complains once about all that is missing.
pub fn check(compressor: Option<(&str, &str)>) -> Result<()> {
    let needed = NEEDED.iter().copied().chain(compressor);
    let mut missing: Vec<&str> =
        needed.filter(|(program, _)| found(program).is_none()).map(|(_, package)| package).collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    bail!("a card is built with programs that are missing here: sudo apt-get install {}", missing.join(" "))
}

/// A program to be run, with the environment of a build.
pub fn tool(program: &str) -> Command {
    let mut command = Command::new(found(program).unwrap_or_else(|| program.into()));
    command.env("SOURCE_DATE_EPOCH", EPOCH).env("E2FSPROGS_FAKE_TIME", EPOCH).env("LC_ALL", "C");
    // Files that are made here are part of an image, whatever the builder keeps from others.
    command.env("MTOOLS_SKIP_CHECK", "1").env("TZ", "UTC").stdin(Stdio::null());
    command
}

/// Runs it and gives what it said on its standard output.
pub fn said(command: &mut Command) -> Result<String> {
    let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {name}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let mut shown = String::from_utf8_lossy(&output.stderr).into_owned();
    if shown.trim().is_empty() {
        shown = String::from_utf8_lossy(&output.stdout).into_owned();
    }
    let lines: Vec<&str> = shown.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(ERROR_LINES_MAX)..].join("\n");
    bail!("{name} failed ({}):\n{last}", output.status)
}

/// Runs it for its effect.
pub fn run(command: &mut Command) -> Result<()> {
    said(command).map(drop)
}
