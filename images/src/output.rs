//! The image's file: with holes, or packed; there whole or not at all.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::tools::{run, tool};

/// The size of a hole that is looked for.
const BLOCK_BYTES: usize = 1 << 16;

#[derive(Debug, Clone, Copy)]
enum Packer {
    Zstd,
    Xz,
    Gzip,
}

/// Where an image goes.
#[derive(Debug)]
pub struct Output {
    place: PathBuf,
    packer: Option<Packer>,
}

impl Output {
    pub fn of(place: &Path) -> Result<Self> {
        let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = place.file_name().with_context(|| format!("{} is no file's name", place.display()))?;
        let folder = folder.canonicalize().with_context(|| format!("there is no folder {}", folder.display()))?;
        let place = folder.join(name);
        if place.exists() && !place.is_file() {
            anyhow::bail!("{} is no file: a card is written by `bramble card flash`", place.display());
        }
        let packer = match place.extension().and_then(|ending| ending.to_str()) {
            Some("zst") => Some(Packer::Zstd),
            Some("xz") => Some(Packer::Xz),
            Some("gz") => Some(Packer::Gzip),
            _ => None,
        };
        Ok(Self { place, packer })
    }

    /// The program that packs, and its package.
    pub fn compressor(&self) -> Option<(&'static str, &'static str)> {
        match self.packer? {
            Packer::Zstd => Some(("zstd", "zstd")),
            Packer::Xz => Some(("xz", "xz-utils")),
            Packer::Gzip => Some(("gzip", "gzip")),
        }
    }

    /// Writes it by `fill`, which gets an empty file. `folder` is for what is not packed yet.
    pub fn write(&self, folder: &Path, fill: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
        let draft = self
            .place
            .with_file_name(format!(".{}.part", self.place.file_name().unwrap_or_default().to_string_lossy()));
        let written = self.write_draft(&draft, folder, fill);
        let moved = written.and_then(|()| {
            fs::rename(&draft, &self.place).with_context(|| format!("cannot write {}", self.place.display()))
        });
        if moved.is_err() {
            drop(fs::remove_file(&draft));
        }
        moved
    }

    fn write_draft(&self, draft: &Path, folder: &Path, fill: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
        let create = |path: &Path| File::create(path).with_context(|| format!("cannot write {}", path.display()));
        let Some(packer) = self.packer else { return fill(&mut create(draft)?) };
        let whole = folder.join("card.img");
        fill(&mut create(&whole)?)?;
        let mut command = match packer {
            Packer::Zstd => tool("zstd"),
            Packer::Xz => tool("xz"),
            Packer::Gzip => tool("gzip"),
        };
        match packer {
            // The kernel is what can be packed here: the root is packed already.
            Packer::Zstd => command.args(["-q", "-T0", "-12", "-c"]),
            Packer::Xz => command.args(["-q", "-T0", "-3", "-c"]),
            Packer::Gzip => command.args(["-q", "-n", "-6", "-c"]),
        };
        run(command.arg(&whole).stdout(create(draft)?)).context("cannot pack the image")
    }
}

/// Copies a file to where the other one stands, which reads as zeros there: blocks of zeros stay holes.
pub fn copy_sparse(from: &Path, to: &mut File) -> Result<()> {
    let what = || format!("cannot copy {}", from.display());
    let mut file = File::open(from).with_context(what)?;
    let mut buffer = vec![0; BLOCK_BYTES];
    loop {
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read(&mut buffer[filled..]).with_context(what)? {
                0 => break,
                read => filled += read,
            }
        }
        if filled == 0 {
            return Ok(());
        }
        if buffer[..filled].iter().all(|byte| *byte == 0) {
            to.seek(SeekFrom::Current(filled as i64)).with_context(what)?;
        } else {
            to.write_all(&buffer[..filled]).with_context(what)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;

    use super::{Output, copy_sparse};

    #[test]
    fn zeros_stay_holes() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut content = vec![0; 1 << 20];
        content[700_000] = 7;
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        std::fs::write(&from, &content).expect("a file");
        let mut copy = File::create(&to).expect("a file");
        copy.set_len(1 << 20).expect("a file");
        copy_sparse(&from, &mut copy).expect("copied");
        assert_eq!(std::fs::read(&to).expect("a file"), content);
        assert!(copy.metadata().expect("a file").blocks() * 512 < 1 << 18);
    }

    #[test]
    fn what_fails_leaves_the_last_image_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("card.img");
        std::fs::write(&place, "the last one").expect("a file");
        let failed = Output::of(&place).expect("a place").write(folder.path(), |_| anyhow::bail!("no"));
        assert!(failed.is_err());
        assert_eq!(std::fs::read(&place).expect("a file"), b"the last one");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn a_disk_is_no_place_for_an_image() {
        assert!(Output::of(std::path::Path::new("/dev/null")).is_err());
        assert!(Output::of(std::path::Path::new("/nowhere/card.img")).is_err());
    }
}
