use std::{io::Read, time::Duration};

use tar::{Entry, EntryType, PaxExtensions};

use super::UnpackError;

/// A pax header or a GNU long name above this is no honest file's.
const EXTENSION_BYTES_MAX: u64 = 1 << 20;
const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";

/// One entry's description, with what the headers before it said.
#[derive(Debug)]
pub(super) struct Meta {
    pub kind: EntryType,
    /// Without empty and `.` parts; never with `..`.
    pub path: Vec<Vec<u8>>,
    /// As it stands: where a symlink points, or the path in the layer that a hard link has.
    pub link: Vec<u8>,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub modified: Duration,
    /// The file capabilities, as `security.capability` holds them.
    pub capability: Option<Vec<u8>>,
}

impl Meta {
    pub fn parent_and_name(&self) -> Option<(&[Vec<u8>], &[u8])> {
        self.path.split_last().map(|(name, parent)| (parent, name.as_slice()))
    }

    pub fn shown(&self) -> String {
        shown(&self.path)
    }
}

pub(super) fn shown(path: &[Vec<u8>]) -> String {
    String::from_utf8_lossy(&path.join(&b'/')).into_owned()
}

/// Splits a path and refuses what could leave the root.
pub(super) fn parts(path: &[u8], bytes_max: usize) -> Result<Vec<Vec<u8>>, UnpackError> {
    if path.len() > bytes_max {
        return Err(UnpackError::Limit { what: "a path's length", limit: bytes_max as u64 });
    }
    let parts: Vec<Vec<u8>> =
        path.split(|b| *b == b'/').filter(|part| !matches!(*part, b"" | b".")).map(<[u8]>::to_vec).collect();
    if parts.iter().any(|part| part == b".." || part.contains(&0)) {
        return Err(UnpackError::Escape { path: String::from_utf8_lossy(path).into_owned() });
    }
    Ok(parts)
}

/// Joins the extension headers with the entry that they describe.
///
/// The tar crate would read them whole into memory, whatever length they claim, so it is asked for raw entries.
pub(super) struct MetaReader {
    path_bytes_max: usize,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: Vec<u8>,
}

impl MetaReader {
    pub fn new(path_bytes_max: usize) -> Self {
        Self { path_bytes_max, long_name: None, long_link: None, pax: Vec::new() }
    }

    /// None for a header that only describes the next entry.
    pub fn next<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<Option<Meta>, UnpackError> {
        match entry.header().entry_type() {
            EntryType::GNULongName => self.long_name = Some(name_of(extension(entry)?)),
            EntryType::GNULongLink => self.long_link = Some(name_of(extension(entry)?)),
            EntryType::XHeader => self.pax = extension(entry)?,
            EntryType::XGlobalHeader => drop(extension(entry)?),
            _ => return self.meta(entry).map(Some),
        }
        Ok(None)
    }

    fn meta<R: Read>(&mut self, entry: &Entry<'_, R>) -> Result<Meta, UnpackError> {
        let header = entry.header();
        let pax = std::mem::take(&mut self.pax);
        let pax = |key: &str| {
            PaxExtensions::new(&pax)
                .flatten()
                .filter(|e| e.key_bytes() == key.as_bytes())
                .last()
                .map(|e| e.value_bytes().to_vec())
        };
        let number = |key: &str| pax(key).and_then(|value| String::from_utf8(value).ok());
        let path = pax("path").or(self.long_name.take()).unwrap_or_else(|| header.path_bytes().into_owned());
        let link = pax("linkpath")
            .or(self.long_link.take())
            .unwrap_or_else(|| header.link_name_bytes().map(|link| link.into_owned()).unwrap_or_default());
        let size = header.entry_size().map_err(UnpackError::Tar)?;
        let path = parts(&path, self.path_bytes_max)?;
        if link.len() > self.path_bytes_max || link.contains(&0) {
            return Err(UnpackError::Limit { what: "a link's length", limit: self.path_bytes_max as u64 });
        }
        if number("size").is_some_and(|text| text.parse() != Ok(size)) {
            return Err(UnpackError::Unsupported { path: shown(&path), kind: "file of 8 GiB or more" });
        }
        let id = |key: &str, from: std::io::Result<u64>| -> Result<u32, UnpackError> {
            let id = match number(key).and_then(|text| text.parse().ok()) {
                Some(id) => id,
                None => from.map_err(UnpackError::Tar)?,
            };
            // The highest id means "no change" to the kernel.
            u32::try_from(id)
                .ok()
                .filter(|id| *id != u32::MAX)
                .ok_or(UnpackError::Limit { what: "an owner's id", limit: u64::from(u32::MAX) })
        };
        let seconds = number("mtime").and_then(|text| text.parse::<f64>().ok());
        let modified = match seconds {
            Some(seconds) => Duration::try_from_secs_f64(seconds).unwrap_or_default(),
            None => Duration::from_secs(header.mtime().unwrap_or(0)),
        };
        let kind = match header.entry_type() {
            // Before POSIX a folder was a file whose name ends in a slash.
            EntryType::Regular if header.path_bytes().ends_with(b"/") => EntryType::Directory,
            kind => kind,
        };
        let capability = pax(&format!("{}security.capability", String::from_utf8_lossy(XATTR_PREFIX)));
        Ok(Meta {
            kind,
            path,
            link,
            mode: header.mode().map_err(UnpackError::Tar)? & 0o7777,
            uid: id("uid", header.uid())?,
            gid: id("gid", header.gid())?,
            size,
            modified,
            capability,
        })
    }
}

fn extension<R: Read>(entry: &mut Entry<'_, R>) -> Result<Vec<u8>, UnpackError> {
    let mut bytes = Vec::new();
    entry.take(EXTENSION_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(UnpackError::Tar)?;
    if bytes.len() as u64 > EXTENSION_BYTES_MAX {
        return Err(UnpackError::Limit { what: "an extension header", limit: EXTENSION_BYTES_MAX });
    }
    Ok(bytes)
}

fn name_of(mut bytes: Vec<u8>) -> Vec<u8> {
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes
}
