//! `bramble card flash` on real disks, in a machine that has some to lose.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tests::guest::Guest;
use tests::program::{Said, built};

const MIB: usize = 1 << 20;
const MODULES: [&str; 7] = ["virtio_pci", "virtio_blk", "vfat", "nls_cp437", "nls_ascii", "nls_iso8859-1", "nls_utf8"];

/// `refused WORDS COMMAND...`: the command has to fail with these words, and to have written nothing to any disk.
const SCRIPT: &str = r#"for module in MODULES; do modprobe $module; done
# Sectors, by the kernel's own count.
written() { awk '{ print $7 }' /sys/block/vd?/stat; }
refused() {
  words=$1; shift
  before=$(written)
  if "$@" >/said 2>&1 </dev/null; then echo "not refused: $*"; cat /said; return 1; fi
  grep -q -- "$words" /said || { echo "not with these words: $words"; cat /said; return 1; }
  [ "$before" = "$(written)" ] || { echo "refused, and written all the same: $*"; return 1; }
}
flash="BRAMBLE card flash"
refused 'say which disk: --to /dev/NAME' $flash /card.img
refused 'no image of a card' $flash /zeroes --to /dev/vda --yes
for packed in zst xz gz; do
  refused "cut.$packed is damaged" $flash /cut.$packed --to /dev/vda --yes
  refused "bent.$packed is damaged" $flash /bent.$packed --to /dev/vda --yes
done
refused 'it is too small' $flash /card.img.zst --to /dev/vdc --yes
refused 'it is too small' $flash /card.img --to /dev/vdc --yes
refused 'nothing was written; without a terminal, give --yes' $flash /card.img --to /dev/vda
refused 'there is no /dev/vdx' $flash /card.img --to /dev/vdx --yes
refused 'is no disk' $flash /card.img --to /dev/null --yes
refused 'is no disk' $flash /card.img --to /zeroes --yes
blockdev --setro /dev/vda
refused 'it is read-only' $flash /card.img --to /dev/vda --yes
blockdev --setrw /dev/vda
$flash /card.img.zst --to /dev/vda --yes >/said 2>&1
grep -q '/dev/vda holds /card.img.zst now, read back and compared' /said
$flash /card.img.xz --to /dev/vdb --yes
blockdev --rereadpt /dev/vda
blockdev --rereadpt /dev/vdb
refused '/dev/vda1 is a partition: a card is written as a whole, /dev/vda' $flash /card.img --to /dev/vda1 --yes
mkdir -p /mnt /boot
mount -t vfat -o ro /dev/vda1 /mnt
refused 'vda1 is mounted at /mnt' $flash /card.img --to /dev/vda --yes
umount /mnt
mount -t vfat -o ro /dev/vda1 /boot
refused 'this system runs from it' $flash /card.img --to /dev/vda --yes
umount /boot
# A mount that only the kernel knows of: it is in nobody else's table.
mkfifo /mounted
unshare -m sh -c 'mount -t vfat -o ro /dev/vda1 /mnt; echo > /mounted; exec sleep 1000' &
read -r _ < /mounted
refused '/dev/vda is in use by somebody else: umount it first' $flash /card.img --to /dev/vda --yes
kill $!
wait $! || true
mkswap /dev/vdc >/dev/null
swapon /dev/vdc
refused 'swap' $flash /card.img --to /dev/vdc --yes
swapoff /dev/vdc
$flash /card.img.gz --to /dev/vdd --yes
echo no | $flash /card.img --to /dev/vda 2>&1 | grep -q 'Everything on /dev/vda'
"#;

/// A partition table, a FAT partition, and behind it what no packer makes smaller: a byte that is changed in the midst of
/// that matters, which among packed zeros it need not.
fn card(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    file.set_len(24 * MIB as u64).unwrap();
    file.seek(SeekFrom::Start(18 * MIB as u64)).unwrap();
    io::copy(&mut fs::File::open("/dev/urandom").unwrap().take(2 * MIB as u64), &mut file).unwrap();
    let mut sfdisk = Command::new("sfdisk").arg("-q").arg(path).stdin(Stdio::piped()).spawn().unwrap();
    sfdisk.stdin.take().unwrap().write_all(b"label: dos\n1MiB,16MiB,c\n").unwrap();
    assert!(sfdisk.wait().unwrap().success());
    Said::by(Command::new("mkfs.vfat").args(["--offset", "2048"]).arg(path).arg("16384")).ok();
}

/// The image as each packer packs it, and each of these cut off (`cut.*`) and with one byte changed (`bent.*`).
fn pack(image: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for (packer, suffix) in [("zstd", "zst"), ("xz", "xz"), ("gzip", "gz")] {
        let packed = fs::File::create(image.with_extension(format!("img.{suffix}"))).unwrap();
        assert!(Command::new(packer).arg("-c").arg(image).stdout(packed).status().unwrap().success());
        let whole = fs::read(image.with_extension(format!("img.{suffix}"))).unwrap();
        let mut bent = whole.clone();
        bent[whole.len() / 2] ^= 0x55;
        for (name, bytes) in [("card.img", &whole[..]), ("cut", &whole[..whole.len() * 2 / 3]), ("bent", &bent)] {
            let file = image.with_file_name(format!("{name}.{suffix}"));
            fs::write(&file, bytes).unwrap();
            files.push(file);
        }
    }
    files
}

#[test]
fn a_card_is_written_whole_to_a_disk_that_nobody_uses_and_to_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("card.img");
    card(&image);
    let zeroes = folder.path().join("zeroes");
    fs::write(&zeroes, vec![0; MIB]).unwrap();
    let mut guest = Guest::new();
    for packed in pack(&image) {
        guest.copy(&packed, &format!("/{}", packed.file_name().unwrap().to_str().unwrap()));
    }
    for program in ["/bin/zstd", "/bin/xz", "/bin/gzip"] {
        guest.install(Path::new(program));
    }
    let disks = [64, 32, 8, 32].map(|mebibytes| guest.plug_disk(mebibytes << 20));
    guest.install(&built("bramble"));
    guest.install_modules(&MODULES);
    guest.copy(&image, "/card.img");
    guest.copy(&zeroes, "/zeroes");
    let script =
        SCRIPT.replace("MODULES", &MODULES.join(" ")).replace("BRAMBLE", &built("bramble").display().to_string());
    guest.run(&script, 120);
    let image = fs::read(&image).unwrap();
    for disk in [&disks[0], &disks[1], &disks[3]] {
        assert!(fs::read(disk).unwrap().starts_with(&image), "{} differs", disk.display());
    }
}
