//! A block device of the bench's own: what reaches it is what would reach a card.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

const BYTES: u64 = 3 << 30;
/// The unit of /sys/block/NAME/stat, whatever the device's own sectors are.
const SECTOR_BYTES: u64 = 512;

/// An ext4 in a file behind a loop device with direct IO. Gone after the drop.
pub struct Device {
    folder: tempfile::TempDir,
    /// `/dev/loop3`
    node: Option<String>,
    mounted: bool,
}

/// What the device has written since it was made.
#[derive(Clone, Copy)]
pub struct Written {
    pub bytes: u64,
    pub writes: u64,
}

impl Device {
    pub fn create() -> Result<Self> {
        // /tmp may be memory, which is no block device.
        let folder = tempfile::Builder::new().prefix("bramble-bench-").tempdir_in("/var/tmp")?;
        let mut device = Self { folder, node: None, mounted: false };
        let file = device.folder.path().join("disk");
        let image = File::create(&file)?;
        nix::fcntl::posix_fallocate(&image, 0, BYTES.try_into()?).context("no room for the bench's disk")?;
        let file = file.to_str().context("a temporary path is text")?;
        let node = run("losetup", &["--find", "--show", "--direct-io=on", file])?.trim().to_owned();
        device.node = Some(node.clone());
        // Nothing may be left for the kernel to write later.
        run("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", &node])?;
        fs::create_dir(device.path())?;
        let path = device.path();
        run("mount", &["-o", "noatime", &node, path.to_str().context("a temporary path is text")?])?;
        device.mounted = true;
        Ok(device)
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("mount")
    }

    pub fn written(&self) -> Result<Written> {
        let name = self.node.as_deref().and_then(|node| node.strip_prefix("/dev/")).context("there is a device")?;
        let stat = fs::read_to_string(Path::new("/sys/block").join(name).join("stat"))?;
        let fields: Vec<u64> = stat.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        ensure!(fields.len() > 6, "unexpected block statistics: {stat}");
        Ok(Written { bytes: fields[6] * SECTOR_BYTES, writes: fields[4] })
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let path = self.path();
        let unmount = self.mounted.then(|| run("umount", &[path.to_str().unwrap_or_default()]));
        let detach = self.node.take().map(|node| run("losetup", &["--detach", &node]));
        for error in [unmount, detach].into_iter().flatten().filter_map(Result::err) {
            eprintln!("the bench's disk stays behind: {error:#}");
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("cannot run {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {said}", arguments.join(" "));
    Ok(String::from_utf8(output.stdout)?)
}
