//! Image archives: any bytes, and a docker archive of any documents.
#![no_main]

use std::fs;
use std::path::Path;

use agent_oci::{Config, Images};
use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;

#[derive(Debug)]
enum Input<'a> {
    Bytes(&'a [u8]),
    Files(Vec<(Name, &'a [u8])>),
}

#[derive(Debug, Clone, Copy)]
enum Name {
    Manifest,
    Index,
    Config,
    Layer,
    Climbing,
}

impl<'a> Arbitrary<'a> for Input<'a> {
    fn arbitrary(from: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(if from.arbitrary()? { Self::Bytes(from.arbitrary()?) } else { Self::Files(from.arbitrary()?) })
    }
}

impl Arbitrary<'_> for Name {
    fn arbitrary(from: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        from.choose(&[Self::Manifest, Self::Index, Self::Config, Self::Layer, Self::Climbing]).copied()
    }
}

fuzz_target!(|input: Input| {
    let folder = tempfile::tempdir_in("/dev/shm").expect("there is memory");
    let archive = folder.path().join("archive.tar");
    match input {
        Input::Bytes(bytes) => fs::write(&archive, bytes).expect("there is memory"),
        Input::Files(files) => write(&archive, &files),
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let images = Images::open(Config::new(folder.path().join("data"))).expect("an empty folder opens");
    let imported = runtime.block_on(images.import(&archive));
    if imported.is_err() {
        assert!(images.list().expect("images can be listed").is_empty());
    }
    let beside: Vec<_> = fs::read_dir(folder.path()).expect("the folder is there").flatten().collect();
    assert_eq!(beside.len(), 2, "the archive and the data are all there is: {beside:?}");
});

fn write(archive: &Path, files: &[(Name, &[u8])]) {
    let mut tar = tar::Builder::new(fs::File::create(archive).expect("there is memory"));
    for (name, content) in files {
        let name = match name {
            Name::Manifest => "manifest.json",
            Name::Index => "index.json",
            Name::Config => "c.json",
            Name::Layer => "l.tar",
            Name::Climbing => "a/../../l.tar",
        };
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        // Not through set_path, which refuses what an evil archive holds.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, *content).expect("there is memory");
    }
    tar.finish().expect("there is memory");
}
