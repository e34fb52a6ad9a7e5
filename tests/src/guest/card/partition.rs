//! The FAT partition of a card, read and written by mtools, without a mount.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::program::Said;

const SECTOR_BYTES: u64 = 512;

/// The first partition of a disk that no machine has at work.
pub struct BootPartition<'a> {
    disk: &'a Path,
    offset_bytes: u64,
}

impl<'a> BootPartition<'a> {
    pub fn of(disk: &'a Path) -> Self {
        let mut head = [0; SECTOR_BYTES as usize];
        let file = fs::File::open(disk).expect("the disk's file");
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut head, 0).expect("a disk has a first sector");
        assert_eq!(&head[510..], [0x55, 0xaa], "{} has no MBR", disk.display());
        let first: [u8; 4] = head[454..458].try_into().expect("four bytes");
        Self { disk, offset_bytes: u64::from(u32::from_le_bytes(first)) * SECTOR_BYTES }
    }

    fn mtools(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("MTOOLS_SKIP_CHECK", "1").arg("-i");
        command.arg(format!("{}@@{}", self.disk.display(), self.offset_bytes));
        command
    }

    /// A file's text, where there is one.
    pub fn read(&self, name: &str) -> Option<String> {
        let said = Said::by(self.mtools("mtype").arg(format!("::{name}")));
        (said.code == 0).then_some(said.out)
    }

    pub fn write(&self, name: &str, text: &str) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), text).expect("a file");
        Said::by(self.mtools("mcopy").arg("-o").arg(file.path()).arg(format!("::{name}"))).ok();
    }

    fn take(&self, name: &str, to: &Path) {
        Said::by(self.mtools("mcopy").arg("-n").arg("-o").arg(format!("::{name}")).arg(to)).ok();
    }

    /// What the firmware would load.
    pub fn take_kernel(&self, kernel: &Path, initramfs: &Path) {
        let listed = Said::by(self.mtools("mdir").arg("-b").arg("::"));
        let names: Vec<&str> = listed.ok().lines().filter_map(|line| line.strip_prefix("::/")).collect();
        let find = |starts: &[&str]| {
            let found = names.iter().find(|name| starts.iter().any(|start| name.to_lowercase().starts_with(start)));
            *found.unwrap_or_else(|| panic!("no {starts:?} on the card: {names:?}"))
        };
        self.take(find(&["vmlinuz", "kernel"]), kernel);
        self.take(find(&["initr"]), initramfs);
    }
}
