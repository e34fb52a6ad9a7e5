//! A machine that runs Debian with systemd: what packages, units and a shutdown do is tried in it.
//!
//! Its root is made once for a target folder by mmdebstrap, from the mirrors that this machine's apt knows; each machine
//! has a copy, and a second disk with what the test brings along, at `/payload`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::shell::{self, Shell};
use super::{DISK_MODULES, Guest, NODE_MODULES, QEMU};
use crate::program::{Said, eventually};

const PACKAGES: &str = "systemd,systemd-sysv,kmod,libseccomp2";
const SUITE: &str = "bookworm";
const DISK_BYTES: u64 = 1 << 30;
const SHUTDOWN_SECONDS_MAX: u64 = 120;

const INIT: &str = r#"#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /new /sbin
ln -sf /bin/busybox /sbin/modprobe
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in DISK_MODULES; do modprobe $module; done
mount -t ext4 /dev/vda /new
mkdir -p /new/payload
mount -t ext4 -o ro /dev/vdb /new/payload
if [ ! -e /new/lib/modules ]; then
  cp -a /lib/modules /new/lib/
  chroot /new /sbin/depmod "$(uname -r)" 2>/dev/null
fi
umount /proc /sys
exec switch_root /new /sbin/init
"#;

/// Run in the new root's folder: a shell on the serial port, the journal on the console, and nothing to wait for.
const SETTLE: &str = r#"
printf 'pi\n' > etc/hostname
printf '0123456789abcdef0123456789abcdef\n' > etc/machine-id
printf '127.0.0.1 localhost pi\n' > etc/hosts
mkdir -p etc/systemd/journald.conf.d etc/systemd/system/multi-user.target.wants
printf '[Journal]\nStorage=volatile\nForwardToConsole=yes\nTTYPath=/dev/ttyS0\nMaxLevelConsole=info\n' > etc/systemd/journald.conf.d/test.conf
printf '[Service]\nExecStart=/bin/sh /payload/shell\nKillMode=process\n' > etc/systemd/system/test-shell.service
ln -s ../test-shell.service etc/systemd/system/multi-user.target.wants/
for unit in serial-getty@ttyS0.service getty.target apt-daily.timer apt-daily-upgrade.timer systemd-timesyncd.service; do
  ln -sf /dev/null etc/systemd/system/$unit
done
rm -rf usr/share/doc usr/share/man usr/share/locale var/cache/apt var/lib/apt/lists
"#;

/// Switched off when dropped, and its disk thrown away.
pub struct DebianMachine {
    guest: Guest,
    shell: Option<Shell>,
    qemu: Option<Child>,
}

impl DebianMachine {
    /// A machine that is off; `payload` is a folder.
    pub fn new(payload: &Path) -> Self {
        let guest = Guest::new();
        guest.install_modules(&[&DISK_MODULES[..], &NODE_MODULES].concat());
        fs::write(guest.root().join("init"), INIT.replace("DISK_MODULES", &DISK_MODULES.join(" "))).expect("an init");
        fs::write(payload.join("shell"), shell::LOOP).expect("the shell");
        let machine = Self { guest, shell: None, qemu: None };
        Said::by(Command::new("cp").arg("--sparse=always").arg(root()).arg(machine.disk("root"))).ok();
        make_disk(payload, &machine.disk("payload"));
        machine
    }

    fn disk(&self, name: &str) -> PathBuf {
        self.guest.folder.path().join(name).with_extension("ext4")
    }

    pub fn boot(&mut self) {
        let socket = self.guest.folder.path().join("shell");
        let mut command = Command::new(QEMU);
        for name in ["root", "payload"] {
            let file = self.disk(name);
            command
                .args(["-drive", &format!("file={},format=raw,if=none,id={name}", file.display())])
                .args(["-device", &format!("virtio-blk-pci,drive={name}")]);
        }
        command
            .args(["-chardev", &format!("socket,id=shell,path={},server=on,wait=off", socket.display())])
            .args(["-device", "isa-serial,chardev=shell,index=1"])
            .stdout(Stdio::null());
        self.qemu = Some(self.guest.boot("", command));
        let (guest, qemu) = (&self.guest, self.qemu.as_mut().expect("it was just started"));
        self.shell = Some(Shell::reach(&socket, qemu, || guest.shown()));
    }

    /// A shell line.
    #[track_caller]
    pub fn sh(&mut self, line: &str) -> Said {
        let shell = self.shell.as_mut().expect("the machine is on");
        shell.ask("pi", line).unwrap_or_else(|error| panic!("{line}: {error}\n{}", self.guest.shown()))
    }

    /// Asks a shell line again until it ends with 0.
    #[track_caller]
    pub fn until(&mut self, what: &str, seconds: u64, line: &str) {
        eventually(what, seconds, || self.sh(line).code == 0);
    }

    /// Shuts down in order; what the console showed since it was switched on.
    pub fn shut_down(&mut self) -> String {
        let mut shell = self.shell.take().expect("the machine is on");
        shell.tell("systemctl --no-block poweroff").expect("the shell listens");
        let mut qemu = self.qemu.take().expect("the machine is on");
        eventually("the machine switches itself off", SHUTDOWN_SECONDS_MAX, || !matches!(qemu.try_wait(), Ok(None)));
        self.guest.shown()
    }

    pub fn console(&self) -> String {
        self.guest.shown()
    }
}

impl Drop for DebianMachine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- the console\n{}", self.guest.shown());
        }
        if let Some(mut qemu) = self.qemu.take() {
            drop(qemu.kill());
            drop(qemu.wait());
        }
    }
}

/// An ext4 file system with a folder's content.
fn make_disk(folder: &Path, file: &Path) {
    let disk = fs::File::create(file).and_then(|disk| disk.set_len(DISK_BYTES));
    disk.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut make = Command::new("mke2fs");
    // Without its zeroing in the background, which is of no use in a sparse file.
    make.args(["-q", "-t", "ext4", "-E", "lazy_itable_init=1,nodiscard", "-d"]);
    Said::by(make.arg(folder).arg(file)).ok();
}

/// The root's image, made once for a target folder.
fn root() -> PathBuf {
    let test = std::env::current_exe().expect("a test has an executable");
    let target = test.ancestors().nth(3).expect("tests run out of target/PROFILE/deps");
    let image = target.join("debian-guest.ext4");
    if image.exists() {
        return image;
    }
    let draft = tempfile::tempdir_in(target).expect("a folder in the target folder");
    let make = format!(
        "mmdebstrap --quiet --mode=root --variant=essential --include={PACKAGES} --aptopt='APT::Sandbox::User \"root\"' \
         --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
         {SUITE} tree - <<TXT\n{}\nTXT\ncd tree\n{SETTLE}",
        sources()
    );
    Said::by(Command::new("sh").args(["-ec", &make]).current_dir(draft.path())).ok();
    let fresh = draft.path().join("image");
    make_disk(&draft.path().join("tree"), &fresh);
    // Another test may have been first, with the same content.
    drop(fs::rename(&fresh, &image));
    image
}

/// One-line sources of the suite, from where this machine's apt has them.
fn sources() -> String {
    let format = "$(SITE) $(RELEASE) $(COMPONENT)";
    let said = Said::by(Command::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]));
    let mut lines: Vec<String> = Vec::new();
    for words in said.ok().lines().map(|line| line.split(' ').collect::<Vec<_>>()) {
        let [site, release, "main"] = words[..] else { continue };
        let line = format!("deb {site} {release} main");
        if release.starts_with(SUITE) && !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.join("\n")
}
