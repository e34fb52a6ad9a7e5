//! The disks of this machine, as the kernel shows them, and what keeps one from being written.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// The kernel counts sizes in these, whatever a disk's own blocks are.
const SECTOR_BYTES: u64 = 512;
/// Mounts that make a disk the one that the system runs from.
const SYSTEM: [&str; 5] = ["/", "/usr", "/boot", "/boot/firmware", "/boot/efi"];

/// Where the kernel tells of its disks; a test has its own.
#[derive(Debug)]
pub struct Kernel {
    sys: PathBuf,
    proc: PathBuf,
}

/// What a disk, or a part of it, is used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Use {
    System,
    Mounted {
        part: String,
        place: String,
    },
    Swap {
        part: String,
    },
    /// By RAID, LVM, encryption or the like.
    Held {
        part: String,
        by: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    pub name: String,
    pub model: String,
    pub size_bytes: u64,
    /// Of what is read and written at once.
    pub block_bytes: usize,
    pub read_only: bool,
    pub removable: bool,
    pub uses: Vec<Use>,
}

/// A disk's own device or one of its partitions.
struct Part {
    name: String,
    number: String,
    folder: PathBuf,
}

impl Kernel {
    pub fn running() -> Self {
        Self { sys: "/sys".into(), proc: "/proc".into() }
    }

    /// Real disks that have a medium, by name.
    pub fn disks(&self) -> Result<Vec<Disk>> {
        let folder = self.sys.join("block");
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let mut disks: Vec<Disk> = entries.flatten().filter_map(|entry| self.disk(&entry.path())).collect();
        disks.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(disks)
    }

    /// The disk with this device file.
    pub fn find(&self, device: &Path) -> Result<Disk> {
        let name = device.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let node = self.sys.join("class/block").join(&name);
        if node.join("partition").exists() {
            let real = node.canonicalize().with_context(|| format!("cannot read {}", node.display()))?;
            let disk = real.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
            bail!("{} is a partition: a card is written as a whole, /dev/{disk}", device.display());
        }
        let disk = self.disk(&self.sys.join("block").join(&name));
        let disk = disk.with_context(|| format!("{} is no disk, or has no medium", device.display()))?;
        let number = fs::metadata(device).map(|data| numbers(data.rdev())).unwrap_or_default();
        let theirs = text(&self.sys.join("block").join(&name).join("dev"));
        ensure!(number == theirs, "{} is not the disk that the kernel calls {name}", device.display());
        Ok(disk)
    }

    fn disk(&self, folder: &Path) -> Option<Disk> {
        // Loops, RAM disks, RAID and mappings have no device of their own.
        let name = folder.file_name()?.to_string_lossy().into_owned();
        let device = folder.join("device");
        let size_bytes = text(&folder.join("size")).parse::<u64>().ok()? * SECTOR_BYTES;
        if !device.exists() || size_bytes == 0 || name.starts_with("sr") {
            return None;
        }
        let words = [text(&device.join("vendor")), text(&device.join("model")), text(&device.join("name"))];
        // Of a virtual disk the vendor is a number.
        let words = words.iter().map(String::as_str).filter(|word| !word.is_empty() && !word.starts_with("0x"));
        Some(Disk {
            model: words.collect::<Vec<_>>().join(" "),
            size_bytes,
            block_bytes: text(&folder.join("queue/logical_block_size")).parse().unwrap_or(4096),
            read_only: text(&folder.join("ro")) == "1",
            removable: text(&folder.join("removable")) == "1" || text(&device.join("type")) == "SD",
            uses: self.uses(&parts(folder, &name)),
            name,
        })
    }

    fn uses(&self, parts: &[Part]) -> Vec<Use> {
        let mounts = fs::read_to_string(self.proc.join("self/mountinfo")).unwrap_or_default();
        let swaps = fs::read_to_string(self.proc.join("swaps")).unwrap_or_default();
        let mut uses = Vec::new();
        let mut places = BTreeSet::new();
        for part in parts {
            let device = format!("/dev/{}", part.name);
            for place in mounts.lines().filter_map(|line| mounted(line, &part.number, &device)) {
                if SYSTEM.contains(&place.as_str()) && !uses.contains(&Use::System) {
                    uses.insert(0, Use::System);
                }
                if places.insert(place.clone()) {
                    uses.push(Use::Mounted { part: part.name.clone(), place });
                }
            }
            if swaps.lines().any(|line| line.split_whitespace().next() == Some(&device)) {
                uses.push(Use::Swap { part: part.name.clone() });
            }
            for holder in fs::read_dir(part.folder.join("holders")).into_iter().flatten().flatten() {
                let by = holder.file_name().to_string_lossy().into_owned();
                uses.push(Use::Held { part: part.name.clone(), by });
            }
        }
        uses
    }
}

/// The disk itself, and its partitions.
fn parts(folder: &Path, name: &str) -> Vec<Part> {
    let part = |folder: &Path, name: &str| Part {
        name: name.to_owned(),
        number: text(&folder.join("dev")),
        folder: folder.to_owned(),
    };
    let mut parts = vec![part(folder, name)];
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().join("partition").exists() {
            parts.push(part(&entry.path(), &entry.file_name().to_string_lossy()));
        }
    }
    parts
}

/// The place that a line of mountinfo names, if it is of this device: by its number, or, where a file system hides that
/// as btrfs does, by its name.
fn mounted(line: &str, number: &str, device: &str) -> Option<String> {
    let (head, tail) = line.split_once(" - ")?;
    let head: Vec<&str> = head.split(' ').collect();
    let source = tail.split(' ').nth(1)?;
    let ours = head.get(2) == Some(&number) || source == device;
    // Spaces are written as octal numbers.
    ours.then(|| head.get(4).map(|place| place.replace("\\040", " "))).flatten()
}

/// As the kernel writes a device's number.
fn numbers(device: u64) -> String {
    format!("{}:{}", nix::sys::stat::major(device), nix::sys::stat::minor(device))
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

impl Disk {
    pub fn path(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }

    /// Why it cannot be written with so many bytes.
    fn objection(&self, bytes: u64) -> Option<String> {
        if let Some(first) = self.uses.first() {
            return Some(first.to_string());
        }
        if self.read_only {
            return Some("it is read-only: cards have a switch for that".to_owned());
        }
        (self.size_bytes < bytes).then(|| format!("it is too small: the image has {}", size(bytes)))
    }

    pub fn check(&self, bytes: u64) -> Result<()> {
        match self.objection(bytes) {
            None => Ok(()),
            Some(why) => bail!("{self} is not written: {why}"),
        }
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let model = if self.model.is_empty() { "no model" } else { &self.model };
        write!(out, "{} ({model}, {})", self.path().display(), size(self.size_bytes))
    }
}

impl fmt::Display for Use {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => write!(out, "this system runs from it"),
            Self::Mounted { part, place } => write!(out, "{part} is mounted at {place}: umount {place}"),
            Self::Swap { part } => write!(out, "{part} is swap: swapoff /dev/{part}"),
            Self::Held { part, by } => write!(out, "{part} is part of {by} (RAID, LVM or encryption)"),
        }
    }
}

/// With three digits.
pub fn size(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{bytes} bytes"),
        mib @ ..1024 => format!("{mib} MiB"),
        mib => format!("{}.{} GiB", mib >> 10, ((mib & 1023) * 10) >> 10),
    }
}

/// Those that can be written first, removable ones before others.
pub fn render(disks: &[Disk]) -> String {
    if disks.is_empty() {
        return "no disk is here: is the card in its reader?\n".to_owned();
    }
    let mut sorted: Vec<(&Disk, Option<String>)> = disks.iter().map(|disk| (disk, disk.objection(0))).collect();
    sorted.sort_by_key(|(disk, objection)| (objection.is_some(), !disk.removable));
    let mut out = format!("{:<14} {:>10}  {:<28} {}\n", "DISK", "SIZE", "MODEL", "");
    for (disk, objection) in sorted {
        let words = match objection {
            Some(why) => format!("no: {why}"),
            None if disk.removable => "removable".to_owned(),
            None => "fixed: look twice".to_owned(),
        };
        let path = disk.path().display().to_string();
        out += &format!("{path:<14} {:>10}  {:<28} {words}\n", size(disk.size_bytes), disk.model);
    }
    out
}

#[cfg(test)]
mod tests;
