//! Layers: whatever their tar says, nothing is written outside the layer's folder. Run it as root, as the agent does.
#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;

#[derive(Debug)]
struct Entry {
    kind: Kind,
    path: Vec<Part>,
    link: Vec<Part>,
    /// An absolute path or target.
    rooted: bool,
    mode: u16,
    content: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    File,
    Folder,
    Symlink,
    HardLink,
    Fifo,
    Device,
    LongName,
    Pax,
    Other(u8),
}

/// Few names, so that entries meet each other.
#[derive(Debug, Clone, Copy)]
enum Part {
    A,
    B,
    Up,
    Here,
    Nothing,
    Whiteout,
    WhiteoutUp,
    Opaque,
    /// The way to the folder beside the layer.
    Outside,
}

impl Arbitrary<'_> for Entry {
    fn arbitrary(from: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        let (kind, path, link) = (from.arbitrary()?, from.arbitrary()?, from.arbitrary()?);
        Ok(Self { kind, path, link, rooted: from.arbitrary()?, mode: from.arbitrary()?, content: from.arbitrary()? })
    }
}

impl Arbitrary<'_> for Kind {
    fn arbitrary(from: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        use Kind::{Device, Fifo, File, Folder, HardLink, LongName, Other, Pax, Symlink};
        let other = Other(from.arbitrary()?);
        from.choose(&[File, Folder, Symlink, HardLink, Fifo, Device, LongName, Pax, other]).copied()
    }
}

impl Arbitrary<'_> for Part {
    fn arbitrary(from: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        use Part::{A, B, Here, Nothing, Opaque, Outside, Up, Whiteout, WhiteoutUp};
        from.choose(&[A, B, Up, Here, Nothing, Whiteout, WhiteoutUp, Opaque, Outside]).copied()
    }
}

fuzz_target!(|entries: Vec<Entry>| {
    let folder = tempfile::tempdir_in("/dev/shm").expect("there is memory");
    let outside = folder.path().join("outside");
    let target = folder.path().join("layer");
    for path in [&outside, &target] {
        fs::create_dir(path).expect("there is memory");
    }
    fs::create_dir(outside.join("a")).expect("there is memory");
    fs::write(outside.join("b"), "untouched").expect("there is memory");
    let before = everything(&outside);
    let tar = archive(&entries, &outside);
    agent_oci::fuzzing::layer(&tar, &target);
    assert_eq!(everything(&outside), before, "something outside was changed");
    let beside = fs::read_dir(folder.path()).expect("the folder is there").count();
    assert_eq!(beside, 2, "something was made outside");
});

/// Every path below `folder` with what can be changed about it.
fn everything(folder: &Path) -> BTreeMap<PathBuf, (u32, u32, u64, u64, i64)> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        let about = fs::symlink_metadata(&path).expect("it was just listed");
        if about.is_dir() {
            open.extend(fs::read_dir(&path).expect("it is a folder").flatten().map(|entry| entry.path()));
        }
        found.insert(path, (about.mode(), about.uid(), about.nlink(), about.len(), about.mtime()));
    }
    found
}

fn text(parts: &[Part], rooted: bool, outside: &Path) -> Vec<u8> {
    let mut text = if rooted { b"/".to_vec() } else { Vec::new() };
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            text.push(b'/');
        }
        text.extend_from_slice(match part {
            Part::A => b"a",
            Part::B => b"b",
            Part::Up => b"..",
            Part::Here => b".",
            Part::Nothing => b"",
            Part::Whiteout => b".wh.a",
            Part::WhiteoutUp => b".wh...",
            Part::Opaque => b".wh..wh..opq",
            Part::Outside => outside.as_os_str().as_encoded_bytes(),
        });
    }
    text
}

fn archive(entries: &[Entry], outside: &Path) -> Vec<u8> {
    let mut tar = Vec::new();
    for entry in entries.iter().take(32) {
        let mut header = tar::Header::new_gnu();
        let kind = match entry.kind {
            Kind::File => b'0',
            Kind::HardLink => b'1',
            Kind::Symlink => b'2',
            Kind::Device => b'3',
            Kind::Folder => b'5',
            Kind::Fifo => b'6',
            Kind::LongName => b'L',
            Kind::Pax => b'x',
            Kind::Other(byte) => byte,
        };
        let path = text(&entry.path, entry.rooted, outside);
        let link = text(&entry.link, entry.rooted, outside);
        let content = match entry.kind {
            Kind::File | Kind::LongName | Kind::Pax | Kind::Other(_) => &entry.content[..],
            _ => &[],
        };
        let bytes = header.as_mut_bytes();
        let (path, link) = (&path[..path.len().min(100)], &link[..link.len().min(100)]);
        bytes[..path.len()].copy_from_slice(path);
        bytes[157..157 + link.len()].copy_from_slice(link);
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(u32::from(entry.mode));
        header.set_size(content.len() as u64);
        header.set_cksum();
        tar.extend_from_slice(header.as_bytes());
        tar.extend_from_slice(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}
