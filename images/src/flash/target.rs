//! A disk that is written and read back, without the page cache in between.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use nix::fcntl::{OFlag, PosixFadviseAdvice, posix_fadvise};
use ring::digest::{Context as Hash, Digest, SHA256, digest};

use super::image::{Image, Measured, fill};
use super::progress::Progress;

/// Written and compared at once.
const BLOCK_BYTES: usize = 4 << 20;
/// Of memory that a disk reads from and writes to by itself: a page.
const ALIGN_BYTES: usize = 4096;

#[derive(Debug)]
pub struct Target {
    file: File,
    path: PathBuf,
    /// Lengths of reads and writes are multiples of it.
    unit_bytes: usize,
}

/// Digests of what was written, a block each.
#[derive(Debug)]
pub struct Written(Vec<Digest>, u64);

/// Memory that begins at a page.
struct Aligned {
    memory: Vec<u8>,
    start: usize,
}

impl Aligned {
    fn new() -> Self {
        let memory = vec![0; BLOCK_BYTES + ALIGN_BYTES];
        let start = memory.as_ptr().align_offset(ALIGN_BYTES);
        Self { memory, start }
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + BLOCK_BYTES]
    }
}

impl Target {
    /// Claims a whole disk: nobody mounts it or any part of it until this is dropped.
    pub fn disk(path: &Path, unit_bytes: usize) -> Result<Self> {
        ensure!(unit_bytes.is_power_of_two() && unit_bytes <= BLOCK_BYTES, "{} has odd blocks", path.display());
        let flags = OFlag::O_EXCL | OFlag::O_DIRECT | OFlag::O_CLOEXEC;
        let opened = OpenOptions::new().read(true).write(true).custom_flags(flags.bits()).open(path);
        let file = match opened {
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EBUSY as i32) => {
                bail!("{} is in use by somebody else: umount it first", path.display())
            }
            opened => opened.with_context(|| format!("cannot open {}; are you root?", path.display()))?,
        };
        let kind = file.metadata().with_context(|| format!("cannot look at {}", path.display()))?.file_type();
        ensure!(kind.is_block_device(), "{} is no disk", path.display());
        Ok(Self { file, path: path.to_owned(), unit_bytes })
    }

    /// A file, which is made or overwritten.
    pub fn file(path: &Path) -> Result<Self> {
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = opened.with_context(|| format!("cannot open {}", path.display()))?;
        ensure!(file.metadata().is_ok_and(|data| data.is_file()), "{} is no file", path.display());
        Ok(Self { file, path: path.to_owned(), unit_bytes: 1 })
    }

    /// Writes the image, which must still be what it was when it was measured.
    pub fn write(&mut self, image: &Image, whole: &Measured) -> Result<Written> {
        let what = format!("cannot write to {}", self.path.display());
        let mut source = image.read()?;
        let mut block = Aligned::new();
        let (mut digests, mut hash, mut bytes) = (Vec::new(), Hash::new(&SHA256), 0);
        let mut progress = Progress::new("writing", whole.bytes);
        while bytes < whole.bytes {
            let block = block.bytes();
            let filled = fill(&mut source, block).context("cannot read the image again")?;
            ensure!(filled > 0, "the image has become shorter while it was written: the card is incomplete");
            hash.update(&block[..filled]);
            let length = filled.next_multiple_of(self.unit_bytes);
            block[filled..length].fill(0);
            self.file.write_all(&block[..length]).with_context(|| what.clone())?;
            digests.push(digest(&SHA256, &block[..filled]));
            bytes += filled as u64;
            progress.at(bytes);
        }
        self.file.sync_all().with_context(|| what.clone())?;
        progress.end();
        ensure!(hash.finish().as_ref() == whole.hash.as_ref(), "the image was changed while it was written");
        Ok(Written(digests, bytes))
    }

    /// Reads back from the disk itself.
    pub fn verify(&mut self, written: &Written) -> Result<()> {
        let what = format!("cannot read {} back", self.path.display());
        // A disk is read past the page cache; of a file at least what is clean is forgotten, and all is since the sync.
        posix_fadvise(&self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).with_context(|| what.clone())?;
        self.file.seek(SeekFrom::Start(0)).with_context(|| what.clone())?;
        compare(&mut self.file, written, self.unit_bytes).with_context(|| format!("{} failed", self.path.display()))
    }
}

fn compare(disk: &mut impl Read, Written(digests, bytes): &Written, unit_bytes: usize) -> Result<()> {
    let mut block = Aligned::new();
    let mut at = 0;
    let mut progress = Progress::new("reading back", *bytes);
    for wanted in digests {
        let length = usize::try_from(bytes - at).unwrap_or(BLOCK_BYTES).min(BLOCK_BYTES);
        let block = block.bytes();
        let filled = fill(disk, &mut block[..length.next_multiple_of(unit_bytes)]).context("cannot read")?;
        let same = filled >= length && digest(&SHA256, &block[..length]).as_ref() == wanted.as_ref();
        ensure!(
            same,
            "what is read back from {} MiB on is not what was written: the card, or its reader, is broken, or it is smaller than it says",
            at >> 20
        );
        at += length as u64;
        progress.at(at);
    }
    progress.end();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_that_reads_otherwise_than_it_was_written_is_found() {
        let content = vec![7_u8; BLOCK_BYTES + 1000];
        let written =
            Written(content.chunks(BLOCK_BYTES).map(|block| digest(&SHA256, block)).collect(), content.len() as u64);
        compare(&mut content.as_slice(), &written, 512).expect("the same");
        let mut other = content.clone();
        other[BLOCK_BYTES + 3] ^= 1;
        let error = compare(&mut other.as_slice(), &written, 512).expect_err("is found").to_string();
        assert!(error.starts_with("what is read back from 4 MiB on"), "{error}");
        assert!(compare(&mut &content[..BLOCK_BYTES], &written, 512).is_err(), "and a short one");
    }
}
