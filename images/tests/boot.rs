//! The image itself starts in QEMU, and again after its power was cut. What it does then in a cluster is tested in tests/.

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use images::board::Board;
use images::{BootFiles, Request, boot_files, build};

/// Under emulation, on a machine that is busy with other tests.
const BOOT_SECONDS_MAX: u64 = 240;

struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn switch_on(image: &Path, files: &BootFiles, console: &Path) -> Machine {
    let mut qemu = Command::new("qemu-system-aarch64");
    qemu.args(["-M", "virt", "-cpu", "cortex-a53", "-smp", "2", "-m", "256", "-display", "none", "-no-reboot"])
        .args(["-serial", &format!("file:{}", console.display())])
        .arg("-kernel")
        .arg(&files.kernel)
        .arg("-initrd")
        .arg(&files.initramfs)
        .args(["-append", &format!("{} systemd.show_status=1", files.cmdline)])
        .args(["-drive", &format!("if=none,id=card,format=raw,file={}", image.display())])
        .args(["-device", "virtio-blk-pci,drive=card", "-nic", "none"])
        .stdin(Stdio::null());
    Machine(qemu.spawn().expect("qemu-system-arm is installed"))
}

/// Waits until the console shows it, and gives all that it has shown.
#[track_caller]
fn shown(console: &Path, wanted: &str) -> String {
    let start = Instant::now();
    loop {
        let text = fs::read(console).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default();
        if text.contains(wanted) {
            return text;
        }
        assert!(start.elapsed().as_secs() < BOOT_SECONDS_MAX, "{wanted:?} was not shown:\n{text}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_card_starts_grows_its_data_partition_and_starts_again_after_a_power_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut elf = vec![0; 64];
    elf[..4].copy_from_slice(b"\x7fELF");
    elf[18] = 183;
    for name in ["bramble", "bramble-agent"] {
        fs::write(folder.path().join(name), &elf).expect("a file");
    }
    let image = folder.path().join("card.img");
    let request = Request {
        board: Board::Virt,
        architecture: None,
        settings: "role = \"agent\"\n".to_owned(),
        binaries: Some(folder.path().to_owned()),
        output: image.clone(),
        mirror: None,
        cache: None,
    };
    build(&request, &|step| eprintln!("{step}")).expect("a card");
    let card = OpenOptions::new().write(true).open(&image).expect("an image");
    card.set_len(4 << 30).expect("a larger card");
    let files = boot_files(&image, folder.path()).expect("a kernel");
    for (number, expected) in [(1, true), (2, false)] {
        let console = folder.path().join(format!("console-{number}"));
        File::create(&console).expect("a file");
        let machine = switch_on(&image, &files, &console);
        let text = shown(&console, "multi-user.target");
        assert!(text.contains("Finished") && text.contains("bramble-grow.service"), "{text}");
        assert_eq!(text.contains("the data partition takes the whole card: 3324 MiB"), expected, "{text}");
        // The stand-ins for our programs do not run.
        let failed: Vec<&str> =
            text.lines().filter(|line| line.contains("FAILED") && !line.contains("bramble-")).collect();
        assert!(failed.is_empty(), "{failed:?}");
        drop(machine);
    }
}
