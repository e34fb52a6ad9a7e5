//! Cards built from this machine's Debian mirror, without privileges.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use images::board::Board;
use images::{Request, boot_files, build};

/// Programs that the build takes for ours: nothing runs them here.
fn stand_ins(folder: &Path) -> PathBuf {
    let place = folder.join("programs with spaces");
    fs::create_dir(&place).expect("a folder");
    let mut elf = vec![0; 64];
    elf[..4].copy_from_slice(b"\x7fELF");
    elf[18] = 183;
    for name in ["bramble", "bramble-agent"] {
        fs::write(place.join(name), &elf).expect("a file");
    }
    place
}

fn request(folder: &Path, name: &str) -> Request {
    Request {
        board: Board::Virt,
        architecture: None,
        settings: "role = \"agent\"\nhostname = \"pi-4\"\n".to_owned(),
        binaries: Some(folder.join("programs with spaces")),
        output: folder.join(name),
        mirror: None,
        cache: None,
    }
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("it runs");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_card_holds_what_its_board_needs_and_is_built_again_in_a_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    stand_ins(folder.path());
    let first = request(folder.path(), "card.img");
    build(&first, &|step| eprintln!("{step}")).expect("a card");
    let image = first.output.to_str().expect("a name");
    assert_eq!(fs::metadata(image).expect("an image").size(), 1 << 30);
    assert!(fs::metadata(image).expect("an image").blocks() * 512 < 160 << 20, "the image has holes");
    let table = said("sfdisk", &["-d", image]);
    for line in
        ["start=        8192, size=      524288, type=c", "size=      524288, type=83", "size=      516096, type=83"]
    {
        assert!(table.contains(line), "{table}");
    }
    let fat = format!("{image}@@4M");
    assert_eq!(said("mtype", &["-i", &fat, "::bramble.toml"]), first.settings);
    let taken = boot_files(&first.output, folder.path()).expect("a kernel");
    assert!(taken.cmdline.contains("bramble.disk=") && taken.cmdline.ends_with("bramble.slot=a"), "{}", taken.cmdline);
    assert!(fs::metadata(&taken.kernel).expect("a kernel").len() > 8 << 20);
    assert!(fs::read(&taken.initramfs).expect("an initramfs").starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
    let root = said("unsquashfs", &["-o", &(260 << 20).to_string(), "-lln", image]);
    for line in ["-rwxr-xr-x 0/0", "/usr/bin/bramble-agent", "/usr/lib/systemd/systemd\n", "/wireguard.ko\n"] {
        assert!(root.contains(line), "{line} is not in the root");
    }

    libraries(image, folder.path());

    // Only the settings differ: nothing but the image is made, the same but for them.
    let mut second = request(folder.path(), "other.img");
    second.settings = first.settings.clone();
    let steps = std::cell::RefCell::new(Vec::new());
    build(&second, &|step| steps.borrow_mut().push(step.to_owned())).expect("a card");
    assert_eq!(steps.into_inner(), ["writing the image"]);
    said("cmp", &[image, second.output.to_str().expect("a name")]);
}

/// Every library that a program asks for is in the root: dependencies are left out by a list.
fn libraries(image: &str, folder: &Path) {
    let root = folder.join("root");
    let root = root.to_str().expect("a name");
    said("unsquashfs", &["-q", "-n", "-o", &(260 << 20).to_string(), "-d", root, image]);
    let script = "cd \"$1\" && find usr -name '*.so*' -printf '%f\\n' | sort -u >../have && \
                  find usr/bin usr/sbin usr/lib -type f \\( -perm -100 -o -name '*.so*' \\) ! -name '*.ko' \
                  -exec readelf -dW {} + 2>/dev/null | sed -n 's/.*(NEEDED).*\\[\\(.*\\)\\]/\\1/p' | sort -u | comm -23 - ../have";
    assert_eq!(said("sh", &["-c", script, "sh", root]), "", "libraries are missing");
}

#[test]
fn nobody_in_particular_builds_a_packed_card() {
    let folder = tempfile::tempdir().expect("a folder");
    stand_ins(folder.path());
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(folder.path(), open).expect("a folder");
    let program = folder.path().join("image-test");
    fs::copy(std::env::current_exe().expect("this test"), &program).expect("a copy");
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["--ignored", "--exact", "--nocapture", "builds_without_privileges"])
        .env("XDG_CACHE_HOME", folder.path().join("cache"))
        .env("BUILD_IN", folder.path())
        .current_dir(folder.path())
        .output()
        .expect("setpriv is part of util-linux");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let packed = folder.path().join("card.img.zst");
    assert_eq!(fs::metadata(&packed).expect("an image").uid(), 65534);
    said("zstd", &["-q", "-t", packed.to_str().expect("a name")]);
    assert!(fs::metadata(packed).expect("an image").len() < 100 << 20);
}

#[test]
#[ignore = "run by another test as another user"]
fn builds_without_privileges() {
    let folder = PathBuf::from(std::env::var_os("BUILD_IN").expect("set by the other test"));
    build(&request(&folder, "card.img.zst"), &|step| eprintln!("{step}")).expect("a card");
}

#[test]
fn programs_of_another_machine_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = stand_ins(folder.path());
    fs::write(place.join("bramble"), fs::read("/proc/self/exe").expect("this program")).expect("a file");
    let error = build(&request(folder.path(), "card.img"), &|_| ()).expect_err("a card for no machine");
    assert!(error.to_string().contains("is no program for arm64"), "{error}");
    assert!(!folder.path().join("card.img").exists());
}
