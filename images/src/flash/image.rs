//! An image's file, packed or not, as a stream of bytes.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use ring::digest::{Context as Hash, Digest, SHA256};

use super::progress::Progress;

/// Larger than any card; whoever packs zeros makes no end of them.
const IMAGE_BYTES_MAX: u64 = 2 << 40;
const CHUNK_BYTES: usize = 1 << 20;
const SECTOR_BYTES: usize = 512;

/// How files of each packer begin, and the program that unpacks them.
const PACKERS: [(&[u8], &str); 3] =
    [(&[0x28, 0xb5, 0x2f, 0xfd], "zstd"), (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz"), (&[0x1f, 0x8b], "gzip")];

#[derive(Debug)]
pub struct Image {
    path: PathBuf,
    packer: Option<&'static str>,
    file_bytes: u64,
}

/// What was learnt by reading it to its end.
#[derive(Debug)]
pub struct Measured {
    pub bytes: u64,
    pub hash: Digest,
    /// It has a partition table.
    pub bootable: bool,
}

impl Image {
    pub fn open(path: &Path) -> Result<Self> {
        let what = || format!("cannot read {}", path.display());
        let mut file = File::open(path).with_context(what)?;
        let data = file.metadata().with_context(what)?;
        ensure!(data.is_file(), "{} is no file", path.display());
        let mut head = Vec::new();
        file.by_ref().take(8).read_to_end(&mut head).with_context(what)?;
        let packer = PACKERS.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, program)| *program);
        Ok(Self { path: path.to_owned(), packer, file_bytes: data.len() })
    }

    /// What a disk must have at the least, as far as it is known without reading.
    pub fn least_bytes(&self) -> u64 {
        if self.packer.is_none() { self.file_bytes } else { 0 }
    }

    pub fn read(&self) -> Result<Source> {
        let what = || format!("cannot read {}", self.path.display());
        let file = File::open(&self.path).with_context(what)?;
        let Some(program) = self.packer else { return Ok(Source::Plain(file)) };
        let mut command = Command::new(program);
        command.arg("-dc").stdin(file).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot run {program}, which unpacks the image"))?;
        let output = child.stdout.take().context("a pipe was asked for")?;
        Ok(Source::Packed { child, output })
    }

    /// Reads it to its end.
    pub fn measure(&self) -> Result<Measured> {
        let mut source = self.read()?;
        let mut hash = Hash::new(&SHA256);
        let mut chunk = vec![0; CHUNK_BYTES];
        let (mut bytes, mut bootable) = (0, false);
        let mut progress = Progress::new("reading the image", self.least_bytes());
        loop {
            let filled =
                fill(&mut source, &mut chunk).with_context(|| format!("cannot read {}", self.path.display()))?;
            if bytes == 0 {
                bootable = filled >= SECTOR_BYTES && chunk[510..512] == [0x55, 0xaa];
            }
            hash.update(&chunk[..filled]);
            bytes += filled as u64;
            ensure!(bytes <= IMAGE_BYTES_MAX, "{} unpacks to more than any card has", self.path.display());
            progress.at(bytes);
            if filled < chunk.len() {
                break;
            }
        }
        source.end().with_context(|| format!("{} is damaged", self.path.display()))?;
        progress.end();
        ensure!(bytes > 0, "{} is empty", self.path.display());
        Ok(Measured { bytes, hash: hash.finish(), bootable })
    }
}

#[derive(Debug)]
pub enum Source {
    Plain(File),
    Packed { child: Child, output: ChildStdout },
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Packed { output, .. } => output.read(buffer),
        }
    }
}

impl Source {
    /// After the last byte: whether the packer was content.
    pub fn end(&mut self) -> Result<()> {
        let Self::Packed { child, .. } = self else { return Ok(()) };
        let status = child.wait().context("cannot wait for the unpacking program")?;
        if status.success() {
            return Ok(());
        }
        let mut words = String::new();
        if let Some(errors) = child.stderr.take() {
            drop(errors.take(CHUNK_BYTES as u64).read_to_string(&mut words));
        }
        bail!("{}", words.trim())
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Self::Packed { child, .. } = self {
            // Both are in vain where it has ended.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Reads until the buffer is full or the stream ends.
pub fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
