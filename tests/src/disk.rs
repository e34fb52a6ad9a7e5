//! A disk in memory that loses its power: of what was not synced it keeps some, in any order, and some of it torn.
//!
//! As strict as POSIX allows: a file's sync makes its content durable and not its name, a folder's sync makes names
//! durable and not contents, a rename is whole or not there, and nothing else is promised. Contents survive sector by
//! sector, each in any of its versions since the last sync, now and then cut in the midst of one.
//!
//! Tests put what they test on top of it by adapters of their own, as those of control/store do, or have programs leave
//! a trace of what they do to a real folder ([`cuts`]), as those of the agent's stores do.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::luck::Luck;

mod content;
pub mod cuts;
pub mod trace;
mod tree;

use content::Content;

/// Names of one folder, and the changes that no sync has made durable.
#[derive(Debug, Clone, Default)]
struct Folder {
    synced: BTreeMap<String, usize>,
    current: BTreeMap<String, usize>,
    pending: Vec<Rename>,
}

/// One change of names, whole or not at all: `from` no longer names `inode`, `to` does.
#[derive(Debug, Clone)]
struct Rename {
    from: Option<String>,
    to: Option<String>,
    inode: usize,
}

impl Rename {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        if let Some(from) = &self.from
            && names.get(from) == Some(&self.inode)
        {
            names.remove(from);
        }
        if let Some(to) = &self.to {
            names.insert(to.clone(), self.inode);
        }
    }
}

#[derive(Debug, Clone)]
enum Inode {
    File(Content),
    Folder(Folder),
    /// A symlink, whole or not there.
    Link(String),
}

#[derive(Debug)]
struct State {
    inodes: Vec<Inode>,
    /// Changes and syncs so far.
    operations: u64,
    /// The operation in whose midst the power goes.
    cut_at: Option<u64>,
    off: bool,
    /// Bytes that may still be written, where the disk is to run full.
    room: Option<u64>,
}

/// The disk; clones are the same one.
#[derive(Debug, Clone)]
pub struct Disk(Arc<Mutex<State>>);

/// An open file.
#[derive(Debug, Clone)]
pub struct OpenFile {
    disk: Disk,
    inode: usize,
}

fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.display().to_string())
}

impl Default for Disk {
    fn default() -> Self {
        Self::with(vec![Inode::Folder(Folder::default())])
    }
}

impl Disk {
    fn with(inodes: Vec<Inode>) -> Self {
        Self(Arc::new(Mutex::new(State { inodes, operations: 0, cut_at: None, off: false, room: None })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The power goes in the midst of the operation after so many more.
    pub fn cut_after(&self, operations: u64) {
        let mut state = self.state();
        state.cut_at = Some(state.operations + operations);
    }

    pub fn is_off(&self) -> bool {
        self.state().off
    }

    /// Changes and syncs so far.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// After so many more bytes writes fail, until it is called again with `None`.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.state().room = bytes;
    }

    /// The disk as the next start finds it.
    pub fn after_power_cut(&self, luck: &mut Luck) -> Self {
        let state = self.state();
        let inodes = state.inodes.iter().map(|inode| match inode {
            Inode::File(content) => Inode::File(content.after_power_cut(luck)),
            Inode::Folder(folder) => Inode::Folder(folder.after_power_cut(luck)),
            Inode::Link(target) => Inode::Link(target.clone()),
        });
        Self::with(inodes.collect())
    }

    /// Opens or creates a file; `new` insists on creating it.
    pub fn open(&self, path: &Path, new: bool) -> io::Result<OpenFile> {
        let mut state = self.state();
        let (folder, name) = state.place(path)?;
        if let Some(inode) = state.folder(folder).current.get(&name).copied() {
            if new {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            return Ok(OpenFile { disk: self.clone(), inode });
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::File(Content::default()));
        state.rename(folder, Rename { from: None, to: Some(name), inode })?;
        Ok(OpenFile { disk: self.clone(), inode })
    }

    pub fn make_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let (folder, name) = state.place(path)?;
        if state.folder(folder).current.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::Folder(Folder::default()));
        state.rename(folder, Rename { from: None, to: Some(name), inode })
    }

    /// Within one folder.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let (folder, old) = state.place(from)?;
        let (target, new) = state.place(to)?;
        assert_eq!(folder, target, "a rename stays in its folder");
        let inode = *state.folder(folder).current.get(&old).ok_or_else(|| not_found(from))?;
        state.rename(folder, Rename { from: Some(old), to: Some(new), inode })
    }

    pub fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let (folder, name) = state.place(path)?;
        let inode = *state.folder(folder).current.get(&name).ok_or_else(|| not_found(path))?;
        state.rename(folder, Rename { from: Some(name), to: None, inode })
    }

    pub fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let folder = state.find(path)?;
        if state.step()? {
            return Err(power_is_off());
        }
        let folder = state.folder(folder);
        folder.synced = folder.current.clone();
        folder.pending.clear();
        Ok(())
    }

    /// Everything there is, as `syncfs`.
    pub fn sync_all(&self) -> io::Result<()> {
        let mut state = self.state();
        if state.step()? {
            return Err(power_is_off());
        }
        for inode in &mut state.inodes {
            match inode {
                Inode::File(content) => content.sync(),
                Inode::Folder(folder) => {
                    folder.synced = folder.current.clone();
                    folder.pending.clear();
                }
                Inode::Link(_) => {}
            }
        }
        Ok(())
    }

    /// The names in a folder.
    pub fn names(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state();
        let folder = state.find(path)?;
        Ok(state.folder(folder).current.keys().cloned().collect())
    }

    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut state = self.state();
        let inode = state.find(path)?;
        match &state.inodes[inode] {
            Inode::File(content) => Ok(content.bytes().to_vec()),
            Inode::Folder(_) => Err(io::ErrorKind::IsADirectory.into()),
            Inode::Link(_) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

impl State {
    /// Counts an operation that changes something: true where the power goes in its midst.
    fn step(&mut self) -> io::Result<bool> {
        if self.off {
            return Err(power_is_off());
        }
        self.operations += 1;
        self.off = self.cut_at.is_some_and(|at| self.operations > at);
        Ok(self.off)
    }

    fn folder(&mut self, inode: usize) -> &mut Folder {
        match &mut self.inodes[inode] {
            Inode::Folder(folder) => folder,
            Inode::File(_) | Inode::Link(_) => panic!("inode {inode} is no folder"),
        }
    }

    fn rename(&mut self, folder: usize, change: Rename) -> io::Result<()> {
        let cut = self.step()?;
        let folder = self.folder(folder);
        change.apply(&mut folder.current);
        folder.pending.push(change);
        if cut { Err(power_is_off()) } else { Ok(()) }
    }

    fn find(&mut self, path: &Path) -> io::Result<usize> {
        if self.off {
            return Err(power_is_off());
        }
        let mut at = 0;
        for part in path.components() {
            let std::path::Component::Normal(name) = part else { continue };
            let name = name.to_str().ok_or_else(|| not_found(path))?;
            let Inode::Folder(folder) = &self.inodes[at] else { return Err(io::ErrorKind::NotADirectory.into()) };
            at = *folder.current.get(name).ok_or_else(|| not_found(path))?;
        }
        Ok(at)
    }

    /// The folder that a path lies in, and its name there.
    fn place(&mut self, path: &Path) -> io::Result<(usize, String)> {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| not_found(path))?;
        let parent = path.parent().map_or_else(PathBuf::new, Path::to_owned);
        Ok((self.find(&parent)?, name.to_owned()))
    }
}

impl Folder {
    fn after_power_cut(&self, luck: &mut Luck) -> Self {
        let mut left = self.synced.clone();
        // A journal keeps changes in order and up to some point; others keep any of them.
        let journal = luck.one_in(2);
        let kept = luck.index(self.pending.len() + 1);
        for (number, change) in self.pending.iter().enumerate() {
            if if journal { number < kept } else { luck.one_in(2) } {
                change.apply(&mut left);
            }
        }
        Self { synced: left.clone(), current: left, pending: Vec::new() }
    }
}

impl OpenFile {
    fn content<T>(&self, read: impl FnOnce(&Content) -> T) -> io::Result<T> {
        let state = self.disk.state();
        match &state.inodes[self.inode] {
            _ if state.off => Err(power_is_off()),
            Inode::File(content) => Ok(read(content)),
            Inode::Folder(_) | Inode::Link(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Content)) -> io::Result<()> {
        let mut state = self.disk.state();
        let cut = state.step()?;
        match &mut state.inodes[self.inode] {
            Inode::File(content) => change(content),
            Inode::Folder(_) | Inode::Link(_) => return Err(io::ErrorKind::IsADirectory.into()),
        }
        if cut { Err(power_is_off()) } else { Ok(()) }
    }

    /// Takes what a change adds from the room that is left.
    fn reserve(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let Some(room) = state.room else { return Ok(()) };
        if bytes > room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.room = Some(room - bytes);
        Ok(())
    }

    pub fn len(&self) -> io::Result<u64> {
        self.content(|content| content.bytes().len() as u64)
    }

    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    pub fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        self.content(|content| {
            let start = usize::try_from(offset).map_err(io::Error::other)?;
            let bytes = content.bytes().get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            out.copy_from_slice(bytes);
            Ok(())
        })?
    }

    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        self.reserve(end.saturating_sub(self.len()?))?;
        self.change(|content| content.write(offset, bytes))
    }

    pub fn set_len(&self, length: u64) -> io::Result<()> {
        self.reserve(length.saturating_sub(self.len()?))?;
        self.change(|content| content.resize(length))
    }

    pub fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        if state.step()? {
            return Err(power_is_off());
        }
        if let Inode::File(content) = &mut state.inodes[self.inode] {
            content.sync();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
