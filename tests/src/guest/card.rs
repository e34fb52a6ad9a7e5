//! A flashed card, and the emulated machine that boots from it and is one of a lab's.
//!
//! Nothing is done to the image but what its owner does: `bramble.toml` is put on the FAT partition. Kernel, initramfs
//! and command line are taken from there as a board's firmware takes them.

mod partition;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use self::partition::BootPartition;
use super::arch::Arch;
use super::disk::Disk;
use crate::lab::dhcp::Dhcp;
use crate::lab::lan::{Cable, Lan};
use crate::program::{Said, eventually};

/// Sparse; what a small card has room for.
const DISK_BYTES: u64 = 2 << 30;
pub const MEMORY_MIB: u32 = 512;
const CONSOLE_LINES_SHOWN: usize = 120;

/// Switched off when dropped, and its card thrown away.
pub struct CardMachine {
    pub arch: Arch,
    pub address: String,
    pub memory_mib: u32,
    /// What the clock says at power on, as `-rtc base=`; a board without one starts in the past.
    pub clock: String,
    qemu: Option<Child>,
    cable: Cable,
    disk: Disk,
    starts: u64,
    /// What the console had shown before the last start.
    console_bytes_before: usize,
    seed: u64,
    switched_on: Instant,
    folder: TempDir,
}

/// The image of `scripts/test`, or of `BRAMBLE_CARDS` (a folder); waits for `scripts/virt-cards`, if that builds it now.
fn image(arch: Arch) -> PathBuf {
    let test = std::env::current_exe().expect("a test has an executable");
    let target = test.ancestors().nth(3).expect("tests run out of target/PROFILE/deps");
    let folder = std::env::var_os("BRAMBLE_CARDS").map_or_else(|| target.join("dist-quick"), PathBuf::from);
    if let Ok(lock) = fs::File::open(folder.with_extension("lock")) {
        lock.lock_shared().expect("a lock of the folder's");
    }
    let image = folder.join(format!("card-virt-{}.img", arch.debian()));
    assert!(image.exists(), "{} is not built: run scripts/test, which builds it", image.display());
    image
}

impl CardMachine {
    /// A card with these settings in a machine that is off, plugged into the LAN; [`Dhcp`] gives it the address.
    pub fn flash(lan: &Lan, arch: Arch, address: &str, settings: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("bramble-card-").tempdir().expect("a folder for the card");
        let disk = Disk::copied(&image(arch), folder.path(), DISK_BYTES);
        let key = folder.path().join("key");
        Said::by(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key)).ok();
        let public = fs::read_to_string(key.with_extension("pub")).expect("ssh-keygen wrote both");
        let machine = Self {
            arch,
            address: address.to_owned(),
            memory_mib: MEMORY_MIB,
            clock: "utc".to_owned(),
            qemu: None,
            cable: lan.tap(address),
            disk,
            starts: 0,
            console_bytes_before: 0,
            seed: u64::from(std::process::id()) << 16,
            switched_on: Instant::now(),
            folder,
        };
        let settings = format!("{settings}\n[ssh]\nauthorized_keys = [\"{}\"]\n", public.trim());
        machine.boot_partition().write("bramble.toml", &settings);
        machine
    }

    /// The FAT partition as a card reader shows it.
    pub fn boot_partition(&self) -> BootPartition<'_> {
        assert!(self.qemu.is_none(), "the card is in a machine that is on");
        BootPartition::of(self.disk.file())
    }

    pub fn cable(&self) -> &Cable {
        &self.cable
    }

    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Decides what becomes of unflushed writes at power cuts to come.
    pub fn set_seed(&mut self, seed: u64) {
        self.seed = seed;
    }

    pub fn power_on(&mut self, lan: &Lan) {
        let kernel = self.folder.path().join("kernel");
        let initramfs = self.folder.path().join("initramfs");
        let boot = self.boot_partition();
        boot.take_kernel(&kernel, &initramfs);
        let append = boot.read("cmdline.txt").unwrap_or_default();
        self.starts += 1;
        self.console_bytes_before = self.console_bytes().len();
        let disk = self.disk.plug(self.seed.wrapping_add(self.starts) | 1);
        let [program, machine @ ..] = self.arch.qemu() else { unreachable!("an emulator has a name") };
        // It must not outlive the test, however that ends.
        let mut qemu = lan.router().command(Path::new("setpriv"));
        qemu.args(["--pdeathsig", "KILL", "--", program])
            .args(machine)
            .args(["-accel", "tcg,thread=multi", "-smp", "2", "-m", &self.memory_mib.to_string()])
            .args(["-display", "none", "-monitor", "none", "-no-reboot", "-rtc", &format!("base={}", self.clock)])
            .args(["-chardev", &format!("file,id=console,append=on,path={}", self.console_file().display())])
            .args(["-serial", "chardev:console"])
            .args([
                "-drive",
                &format!("if=none,id=card,format=raw,file={disk}"),
                "-device",
                "virtio-blk-pci,drive=card",
            ])
            .args(["-netdev", &format!("tap,id=lan,ifname={},script=no,downscript=no", self.cable.port())])
            .args(["-device", &format!("virtio-net-pci,netdev=lan,romfile=,mac={}", Dhcp::card_of(&self.address))])
            .arg("-kernel")
            .arg(&kernel)
            .arg("-initrd")
            .arg(&initramfs)
            .args(["-append", append.trim()]);
        let errors = fs::File::create(self.folder.path().join("qemu.log")).expect("a log file");
        let qemu = qemu.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn();
        self.qemu = Some(qemu.expect("setpriv is there"));
        self.switched_on = Instant::now();
    }

    /// Pulls the plug. What the system had not flushed to the card may be there, or not.
    pub fn power_cut(&mut self) {
        if let Some(mut qemu) = self.qemu.take() {
            drop(qemu.kill());
            drop(qemu.wait());
        }
        self.disk.unplug();
    }

    /// Since when it has been on.
    pub fn switched_on(&self) -> Instant {
        self.switched_on
    }

    /// Whether QEMU still runs: it ends when the system reboots or switches itself off.
    pub fn is_on(&mut self) -> bool {
        self.qemu.as_mut().is_some_and(|qemu| matches!(qemu.try_wait(), Ok(None)))
    }

    /// Memory that the emulator itself takes from this machine is no figure of ours; its pid serves other ends.
    pub fn emulator_pid(&self) -> Option<u32> {
        self.qemu.as_ref().map(Child::id)
    }

    fn console_file(&self) -> PathBuf {
        self.folder.path().join("console")
    }

    fn console_bytes(&self) -> Vec<u8> {
        fs::read(self.console_file()).unwrap_or_default()
    }

    /// What its console has shown since it was last switched on.
    pub fn console(&self) -> String {
        let all = self.console_bytes();
        String::from_utf8_lossy(all.get(self.console_bytes_before..).unwrap_or_default()).replace('\r', "")
    }

    /// Waits until the console has shown these words, in this start.
    #[track_caller]
    pub fn await_console(&self, words: &str, seconds: u64) {
        eventually(&format!("the console shows: {words}"), seconds, || self.console().contains(words));
    }

    /// A shell line in the machine, as its owner gives it.
    pub fn ssh(&self, lan: &Lan, line: &str) -> Said {
        let mut ssh = lan.router().command(Path::new("ssh"));
        ssh.arg("-i").arg(self.folder.path().join("key"));
        for option in [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "BatchMode=yes",
            "ConnectTimeout=10",
        ] {
            ssh.args(["-o", option]);
        }
        Said::by(ssh.arg(format!("root@{}", self.address)).arg(line).stdin(Stdio::null()))
    }
}

impl Drop for CardMachine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (console, address) = (self.console(), &self.address);
            let tail: Vec<&str> = console.lines().rev().take(CONSOLE_LINES_SHOWN).collect();
            eprintln!("---- the console of {address}, seed {}, start {}", self.seed, self.starts);
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
            let errors = fs::read_to_string(self.folder.path().join("qemu.log")).unwrap_or_default();
            eprintln!("---- what QEMU said\n{errors}");
        }
        if let Some(mut qemu) = self.qemu.take() {
            drop(qemu.kill());
            drop(qemu.wait());
        }
    }
}
