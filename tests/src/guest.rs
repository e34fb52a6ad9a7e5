//! A machine of its own, emulated by QEMU: Debian's kernel with cgroup v2 alone, and programs of this build.
//!
//! Its root is a tmpfs filled from an initramfs, so that it needs neither disk nor driver. Nothing is installed: the
//! kernel is unpacked below `target/guest-kernel`. Emulation alone, since /dev/kvm is not to be trusted where it exists.

pub mod arch;
pub mod card;
pub mod debian;
pub mod disk;
pub mod machine;
mod node;
mod shell;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

pub use self::node::{DATA, program_path};
use crate::program::{Said, eventually};

const BUSYBOX: &str = "/bin/busybox";
const QEMU: &str = "qemu-system-x86_64";
const MEMORY_MIB: u32 = 1536;

/// What a node needs of the kernel. Nobody loads them by name: the kernel does when they are asked for.
pub const NODE_MODULES: [&str; 11] = [
    "overlay",
    "veth",
    "vxlan",
    "nf_conntrack_netlink",
    "nft_chain_nat",
    "nft_ct",
    "nft_fib_ipv4",
    "nft_masq",
    "nft_nat",
    "nft_numgen",
    "nft_reject_ipv4",
];

/// What the kernel reaches its disks by; ext4 is a part of it.
pub const DISK_MODULES: [&str; 2] = ["virtio_pci", "virtio_blk"];

/// The first stage fills a root that pivot_root(2) may leave, which it may not from an initramfs itself.
const INIT: &str = r#"#!/bin/busybox sh
if [ "$1" != again ]; then
  /bin/busybox mount -t tmpfs -o size=80% root /new
  for entry in /*; do
    case $entry in /new|/dev|/proc|/sys|/root) ;; *) /bin/busybox cp -a $entry /new/ ;; esac
  done
  exec /bin/busybox switch_root /new /init again
fi
/bin/busybox --install -s /bin
export PATH=/bin
mkdir -p /proc /sys /dev /tmp /etc /var /run /root /sbin
# The kernel calls it by this name for what it lacks, as everywhere.
ln -sf /bin/busybox /sbin/modprobe
chmod 1777 /tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
hostname guest
ip link set lo up
sh -e /script
echo "guest: ended with $?"
reboot -f
"#;

/// A machine that has not been switched on yet.
pub struct Guest {
    folder: TempDir,
    disks: Vec<PathBuf>,
    /// More words of the kernel's command line.
    words: String,
}

impl Guest {
    /// One with busybox and nothing else.
    pub fn new() -> Self {
        let guest = Self {
            folder: tempfile::tempdir().expect("a folder for the guest"),
            disks: Vec::new(),
            words: String::new(),
        };
        for dir in ["bin", "new"] {
            fs::create_dir_all(guest.root().join(dir)).expect("the guest's root");
        }
        fs::copy(BUSYBOX, guest.root().join("bin/busybox")).expect("busybox-static is installed");
        let init = guest.root().join("init");
        fs::write(&init, INIT).expect("the guest's root");
        Said::by(Command::new("chmod").arg("755").arg(init)).ok();
        guest
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn inside(&self, path: &Path) -> PathBuf {
        let inside = self.root().join(path.strip_prefix("/").expect("an absolute path"));
        fs::create_dir_all(inside.parent().expect("a file's folder")).expect("the guest's root");
        inside
    }

    /// Puts a program and its libraries where they lie on this machine.
    pub fn install(&self, program: &Path) {
        Said::by(Command::new("strip").arg("-o").arg(self.inside(program)).arg(program)).ok();
        let libraries = Said::by(Command::new("ldd").arg(program));
        for word in libraries.ok().split_whitespace().filter(|word| word.starts_with('/')) {
            fs::copy(word, self.inside(Path::new(word))).unwrap_or_else(|error| panic!("{word}: {error}"));
        }
    }

    /// Puts modules of the kernel in, with what they depend on: `modprobe` finds them.
    pub fn install_modules(&self, names: &[&str]) {
        let found = fs::read_dir(unpacked().join("lib/modules")).expect("the kernel's modules").flatten().next();
        let from = found.expect("the kernel has a version").path();
        let to = self.inside(&Path::new("/lib/modules").join(from.file_name().expect("a version")));
        let list = fs::read_to_string(from.join("modules.dep")).expect("depmod has run");
        let mut wanted = vec!["modules.dep", "modules.alias", "modules.symbols"];
        for name in names {
            let line = list
                .lines()
                .find(|line| line.split(':').next().is_some_and(|path| path.ends_with(&format!("/{name}.ko"))));
            let line = line.unwrap_or_else(|| panic!("this kernel has no module {name}"));
            wanted.extend(line.split([':', ' ']).filter(|path| !path.is_empty()));
        }
        for file in wanted {
            let copy = to.join(file);
            fs::create_dir_all(copy.parent().expect("a file's folder")).expect("the guest's root");
            fs::copy(from.join(file), copy).unwrap_or_else(|error| panic!("{file}: {error}"));
        }
    }

    /// Puts a file in that is no program to be stripped.
    pub fn copy(&self, file: &Path, to: &str) {
        fs::copy(file, self.inside(Path::new(to))).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    /// Boots the kernel with a further word.
    pub fn append(&mut self, word: &str) {
        self.words = format!("{} {word}", self.words);
    }

    /// Plugs in an empty disk: the first is /dev/vda. It needs `DISK_MODULES`. The disk's file on this machine is for
    /// after the guest's end.
    pub fn plug_disk(&mut self, size_bytes: u64) -> PathBuf {
        let file = self.folder.path().join(format!("disk-{}", self.disks.len()));
        let sized = fs::File::create(&file).and_then(|disk| disk.set_len(size_bytes));
        sized.expect("a sparse file in the test's folder");
        self.disks.push(file.clone());
        file
    }

    /// Plugs in a disk with an empty ext4 on it, and gives the line that mounts it at `path`.
    pub fn plug_file_system(&mut self, size_bytes: u64, path: &str) -> String {
        let disk = self.plug_disk(size_bytes);
        let name = char::from(b'a' + (self.disks.len() as u8 - 1));
        // Without its zeroing in the background, which is of no use in a sparse file.
        let options = ["-q", "-t", "ext4", "-E", "lazy_itable_init=1,nodiscard"];
        Said::by(Command::new("mke2fs").args(options).arg(disk)).ok();
        self.install_modules(&DISK_MODULES);
        let load = DISK_MODULES.map(|module| format!("modprobe {module}")).join("; ");
        format!("{load}; mkdir -p {path}; mount -t ext4 /dev/vd{name} {path}")
    }

    /// Boots it, runs a shell script, which ends at the first command that fails, in it and switches it off: what the console showed, when the script ended with 0.
    #[track_caller]
    pub fn run(&self, script: &str, seconds: u64) -> String {
        let mut machine = self.boot(script, Command::new(QEMU));
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually("the guest switches itself off", seconds, || !matches!(machine.try_wait(), Ok(None)));
        }));
        drop(machine.kill());
        drop(machine.wait());
        let shown = self.shown();
        assert!(ended.is_ok() && shown.contains("\nguest: ended with 0\n"), "the guest failed:\n{shown}");
        shown
    }

    /// Starts it by a command that may hold further devices.
    fn boot(&self, script: &str, mut qemu: Command) -> Child {
        fs::write(self.root().join("script"), script).expect("the guest's root");
        let disk = self.folder.path().join("initrd");
        let pack = format!("{BUSYBOX} find . | {BUSYBOX} cpio -o -H newc");
        let archive = fs::File::create(&disk).expect("a file for the initramfs");
        let mut shell = Command::new("sh");
        shell.args(["-c", &pack]).current_dir(self.root()).stdout(archive).stderr(Stdio::null());
        assert!(shell.status().expect("a shell").success(), "{pack} failed");
        qemu.args(["-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", &MEMORY_MIB.to_string()])
            .args(["-nodefaults", "-display", "none", "-no-reboot"])
            .args(["-chardev", &format!("file,id=console,path={}", self.console().display())])
            // The first serial port, whatever the command has already.
            .args(["-device", "isa-serial,chardev=console,index=0"])
            // Where this machine has other work, an emulated timer may be too late for the kernel's test of it.
            .args(["-append", &format!("console=ttyS0 quiet panic=-1 no_timer_check{}", self.words), "-kernel"])
            .arg(kernel())
            .arg("-initrd")
            .arg(disk)
            .stdin(Stdio::null());
        for (number, disk) in self.disks.iter().enumerate() {
            qemu.args(["-drive", &format!("if=none,id=disk{number},format=raw,file={}", disk.display())])
                .args(["-device", &format!("virtio-blk-pci,drive=disk{number}")]);
        }
        qemu.spawn().expect("qemu-system-x86_64 is installed: scripts/install-dependencies test")
    }

    fn console(&self) -> PathBuf {
        self.folder.path().join("console")
    }

    /// What its console has shown so far.
    fn shown(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.console()).unwrap_or_default()).replace('\r', "")
    }
}

impl Default for Guest {
    fn default() -> Self {
        Self::new()
    }
}

fn kernel() -> PathBuf {
    let found = fs::read_dir(unpacked().join("boot")).expect("the kernel's package").flatten();
    let mut images = found.map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains("vmlinuz"));
    images.next().expect("the package holds a kernel")
}

/// Debian's kernel for virtual machines with its modules, fetched and unpacked once for a target folder.
fn unpacked() -> PathBuf {
    let test = std::env::current_exe().expect("a test has an executable");
    let target = test.ancestors().nth(3).expect("tests run out of target/PROFILE/deps");
    let tree = target.join("guest-kernel");
    if tree.join("boot").exists() {
        return tree;
    }
    let draft = tempfile::tempdir_in(target).expect("a folder in the target folder");
    let depends = Said::by(Command::new("apt-cache").args(["depends", "linux-image-cloud-amd64"]));
    let package = depends.ok().split_whitespace().find(|word| word.starts_with("linux-image-") && word.contains('.'));
    let package = package.expect("the newest kernel's package");
    let mut download = Command::new("apt-get");
    download.args(["-o", "APT::Sandbox::User=root", "download", package]).current_dir(draft.path());
    Said::by(&mut download).ok();
    let unpack = format!("dpkg -x *.deb tree && chmod 755 tree && {BUSYBOX} depmod -b tree \"$(ls tree/lib/modules)\"");
    Said::by(Command::new("sh").args(["-c", &unpack]).current_dir(draft.path())).ok();
    // Another test may have been first, with the same content.
    drop(fs::rename(draft.path().join("tree"), &tree));
    tree
}
