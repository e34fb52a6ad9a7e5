//! On a tree as the kernel would show it.

use tempfile::TempDir;

use super::*;

/// Disks of a machine: the system's, a card of two partitions, an encrypted one, a protected card, an empty reader.
fn machine() -> (TempDir, Kernel) {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let disk = |name: &str, number: &str, sectors: &str, model: &str| {
        let at = root.join("sys/block").join(name);
        fs::create_dir_all(at.join("device")).expect("a folder");
        fs::create_dir_all(at.join("holders")).expect("a folder");
        for (file, content) in [("dev", number), ("size", sectors), ("ro", "0"), ("device/model", model)] {
            fs::write(at.join(file), format!("{content}\n")).expect("a file");
        }
        let class = root.join("sys/class/block");
        fs::create_dir_all(&class).expect("a folder");
        std::os::unix::fs::symlink(&at, class.join(name)).expect("a link");
        at
    };
    let partition = |disk: &Path, name: &str, number: &str| {
        let at = disk.join(name);
        fs::create_dir_all(at.join("holders")).expect("a folder");
        fs::write(at.join("dev"), format!("{number}\n")).expect("a file");
        fs::write(at.join("partition"), "1\n").expect("a file");
        std::os::unix::fs::symlink(&at, root.join("sys/class/block").join(name)).expect("a link");
        at
    };
    let system = disk("nvme0n1", "259:0", "500118192", "Samsung SSD");
    partition(&system, "nvme0n1p1", "259:1");
    partition(&system, "nvme0n1p2", "259:2");
    let card = disk("sdb", "8:16", "62333952", "SD/MMC Reader");
    fs::write(card.join("removable"), "1\n").expect("a file");
    partition(&card, "sdb1", "8:17");
    let secret = disk("sdc", "8:32", "62333952", "Flash Drive");
    fs::create_dir_all(partition(&secret, "sdc1", "8:33").join("holders/dm-0")).expect("a folder");
    fs::write(disk("sdd", "8:48", "15333952", "Old Card").join("ro"), "1\n").expect("a file");
    disk("sde", "8:64", "0", "Empty Reader");
    fs::create_dir_all(root.join("sys/block/loop0")).expect("a folder");
    fs::write(root.join("sys/block/loop0/size"), "1000\n").expect("a file");
    fs::create_dir_all(root.join("proc/self")).expect("a folder");
    let mounts = "1 0 0:25 / / rw - btrfs /dev/nvme0n1p2 rw\n2 1 259:1 / /boot/efi rw - vfat /dev/nvme0n1p1 rw\n\
                  3 1 0:22 / /proc rw - proc proc rw\n";
    fs::write(root.join("proc/self/mountinfo"), mounts).expect("a file");
    fs::write(root.join("proc/swaps"), "Filename Type Size\n/dev/zram0 partition 1\n").expect("a file");
    let kernel = Kernel { sys: root.join("sys"), proc: root.join("proc") };
    (folder, kernel)
}

fn refusal(kernel: &Kernel, name: &str, bytes: u64) -> String {
    let disks = kernel.disks().expect("disks");
    let disk = disks.into_iter().find(|disk| disk.name == name).expect("the disk is listed");
    disk.check(bytes).map_or_else(|error| error.to_string(), |()| String::new())
}

#[test]
fn a_card_that_nobody_uses_is_written_and_others_are_not() {
    let (_folder, kernel) = machine();
    assert_eq!(refusal(&kernel, "sdb", 1 << 30), "");
    assert!(refusal(&kernel, "sdb", 1 << 40).contains("sdb (SD/MMC Reader, 29.7 GiB) is not written: it is too small"));
    assert!(refusal(&kernel, "nvme0n1", 0).ends_with("this system runs from it"));
    assert!(refusal(&kernel, "sdc", 0).ends_with("sdc1 is part of dm-0 (RAID, LVM or encryption)"));
    assert!(refusal(&kernel, "sdd", 0).contains("read-only"));
    let names: Vec<String> = kernel.disks().expect("disks").into_iter().map(|disk| disk.name).collect();
    assert_eq!(names, ["nvme0n1", "sdb", "sdc", "sdd"], "neither an empty reader nor a loop");
}

#[test]
fn a_mounted_card_and_swap_are_refused_with_what_helps() {
    let (folder, kernel) = machine();
    let mounts = folder.path().join("proc/self/mountinfo");
    fs::write(&mounts, "9 1 8:17 / /media/my\\040card rw - vfat /dev/sdb1 rw\n").expect("a file");
    assert!(refusal(&kernel, "sdb", 0).ends_with("sdb1 is mounted at /media/my card: umount /media/my card"));
    fs::write(&mounts, "9 1 8:16 / /mnt rw - ext4 /dev/sdb rw\n").expect("a file");
    assert!(refusal(&kernel, "sdb", 0).ends_with("sdb is mounted at /mnt: umount /mnt"));
    fs::write(&mounts, "").expect("a file");
    fs::write(folder.path().join("proc/swaps"), "Filename\n/dev/sdb1 partition 1\n").expect("a file");
    assert!(refusal(&kernel, "sdb", 0).ends_with("sdb1 is swap: swapoff /dev/sdb1"));
}

#[test]
fn a_partition_is_no_disk_and_its_disk_is_named() {
    let (_folder, kernel) = machine();
    let error = kernel.find(Path::new("/dev/sdb1")).expect_err("is refused").to_string();
    assert_eq!(error, "/dev/sdb1 is a partition: a card is written as a whole, /dev/sdb");
    let error = kernel.find(Path::new("/dev/loop0")).expect_err("is refused").to_string();
    assert_eq!(error, "/dev/loop0 is no disk, or has no medium");
    assert!(kernel.find(Path::new("/dev/null")).is_err());
}

#[test]
fn the_list_begins_with_what_can_be_written() {
    let (_folder, kernel) = machine();
    let list = render(&kernel.disks().expect("disks"));
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines[1], "/dev/sdb         29.7 GiB  SD/MMC Reader                removable");
    assert!(lines[2].contains("nvme0n1") && lines[2].ends_with("no: this system runs from it"), "{list}");
    assert_eq!(lines.len(), 5);
}
