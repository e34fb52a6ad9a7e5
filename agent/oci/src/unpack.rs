//! A layer's tar becomes a folder in overlayfs form, and can reach nothing outside it.

use std::{
    io::{self, Read},
    path::Path,
};

use ring::digest::{Context, SHA256};
use tar::{Archive, EntryType};

mod decompress;
mod entry;
mod tree;

use crate::images::Limits;
use entry::{Meta, MetaReader};
use tree::Tree;

pub(crate) use decompress::decompress;

const WHITEOUT_PREFIX: &[u8] = b".wh.";
const OPAQUE_MARK: &[u8] = b".wh..wh..opq";
/// AUFS kept its own files under this prefix; they are no part of the image.
const AUFS_PREFIX: &[u8] = b".wh..wh.";

/// Tars are filled up to a whole record, of 10 KiB by custom; more is a waste of everyone's time.
const TAIL_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    #[error("{path:?} leaves the root of the layer")]
    Escape { path: String },
    #[error("{path:?} links to {target:?}, which is not in the layer")]
    LinkTarget { path: String, target: String },
    #[error("{path:?} lies below something that is no folder")]
    NotADirectory { path: String },
    #[error("{what} is above the limit of {limit}")]
    Limit { what: &'static str, limit: u64 },
    #[error("{path:?} is of the unsupported kind {kind}")]
    Unsupported { path: String, kind: &'static str },
    #[error("layer's content has the diff id {actual}, not {expected}")]
    DiffId { expected: String, actual: String },
    #[error("cannot read the layer's tar")]
    Tar(#[source] io::Error),
    #[error("cannot {action} {path:?}")]
    Io {
        action: &'static str,
        path: String,
        #[source]
        source: io::Error,
    },
}

/// What came out of a layer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Unpacked {
    pub bytes: u64,
    pub files: u64,
}

/// Unpacks a layer (gzip, zstd or plain) into the existing empty folder `target` and verifies its diff id.
///
/// `lower` are the folders of the layers below, the nearest first: a folder that the tar leaves out gets the
/// owner and mode that it has there.
pub(crate) fn unpack(
    layer: impl Read + Send,
    target: &Path,
    lower: &[std::path::PathBuf],
    diff_id: &str,
    limits: &Limits,
) -> Result<Unpacked, UnpackError> {
    let plain = decompress(layer).map_err(UnpackError::Tar)?;
    let mut hashed = Hashed { inner: plain, context: Context::new(&SHA256), bytes: 0 };
    let mut tree = Tree::open(target, lower)?;
    let done = entries(&mut hashed, &mut tree, limits)?;
    // What follows the tar's end belongs to the diff id too.
    let rest = io::copy(&mut hashed.by_ref().take(TAIL_BYTES_MAX + 1), &mut io::sink()).map_err(UnpackError::Tar)?;
    if rest > TAIL_BYTES_MAX {
        return Err(UnpackError::Limit { what: "what follows the end of the layer's tar", limit: TAIL_BYTES_MAX });
    }
    let actual = format!("sha256:{}", hex(hashed.context.finish().as_ref()));
    if actual != diff_id {
        return Err(UnpackError::DiffId { expected: diff_id.into(), actual });
    }
    tree.finish()?;
    Ok(done)
}

fn entries(tar: impl Read, tree: &mut Tree, limits: &Limits) -> Result<Unpacked, UnpackError> {
    let mut archive = Archive::new(tar);
    let mut done = Unpacked::default();
    let mut metas = MetaReader::new(limits.path_bytes_max);
    for entry in archive.entries().map_err(UnpackError::Tar)?.raw(true) {
        let mut entry = entry.map_err(UnpackError::Tar)?;
        let Some(meta) = metas.next(&mut entry)? else { continue };
        done.files += 1;
        if done.files > limits.files_max {
            return Err(UnpackError::Limit { what: "the number of files", limit: limits.files_max });
        }
        if meta.kind == EntryType::Regular {
            done.bytes += meta.size;
        }
        if done.bytes > limits.unpacked_bytes_max {
            return Err(UnpackError::Limit { what: "the layer's unpacked size", limit: limits.unpacked_bytes_max });
        }
        place(&mut entry, &meta, tree)?;
    }
    Ok(done)
}

fn place(content: &mut impl Read, meta: &Meta, tree: &mut Tree) -> Result<(), UnpackError> {
    let Some((parent, name)) = meta.parent_and_name() else {
        // The root itself: only its owner and mode matter.
        return if meta.kind == EntryType::Directory { tree.root_attributes(meta) } else { Ok(()) };
    };
    if name == OPAQUE_MARK {
        return tree.make_opaque(parent);
    }
    if name.starts_with(AUFS_PREFIX) {
        return Ok(());
    }
    if let Some(hidden) = name.strip_prefix(WHITEOUT_PREFIX) {
        return match hidden {
            b"" | b"." | b".." => Err(UnpackError::Escape { path: meta.shown() }),
            hidden => tree.whiteout(parent, hidden),
        };
    }
    match meta.kind {
        EntryType::Regular | EntryType::Continuous => tree.file(parent, name, meta, content),
        EntryType::Directory => tree.directory(parent, name, meta),
        EntryType::Symlink => tree.symlink(parent, name, meta),
        EntryType::Link => tree.hard_link(parent, name, meta),
        EntryType::Fifo => tree.fifo(parent, name, meta),
        // A container gets its devices from the runtime, never from an image.
        EntryType::Char | EntryType::Block => Ok(()),
        EntryType::GNUSparse => Err(UnpackError::Unsupported { path: meta.shown(), kind: "sparse file" }),
        _ => Err(UnpackError::Unsupported { path: meta.shown(), kind: "unknown entry" }),
    }
}

struct Hashed<R> {
    inner: R,
    context: Context,
    bytes: u64,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.context.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}
