//! Links of a simulated disk, and whole folders that go in and out of it.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::{Disk, Folder, Inode, Rename, not_found};

impl Disk {
    pub fn is_folder(&self, path: &Path) -> io::Result<bool> {
        let mut state = self.state();
        let inode = state.find(path)?;
        Ok(matches!(state.inodes[inode], Inode::Folder(_)))
    }

    pub fn symlink(&self, path: &Path, target: &str) -> io::Result<()> {
        let mut state = self.state();
        let (folder, name) = state.place(path)?;
        let inode = state.inodes.len();
        state.inodes.push(Inode::Link(target.to_owned()));
        state.rename(folder, Rename { from: None, to: Some(name), inode })
    }

    /// A second name for a file.
    pub fn hard_link(&self, from: &Path, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.find(from)?;
        let (folder, name) = state.place(path)?;
        state.rename(folder, Rename { from: None, to: Some(name), inode })
    }

    /// What lies in a real folder, all of it synced.
    pub fn load(folder: &Path) -> io::Result<Self> {
        let disk = Self::default();
        disk.load_below(folder, Path::new(""))?;
        disk.sync_all()?;
        Ok(disk)
    }

    fn load_below(&self, real: &Path, path: &Path) -> io::Result<()> {
        for entry in fs::read_dir(real)? {
            let entry = entry?;
            let (kind, path) = (entry.file_type()?, path.join(entry.file_name()));
            if kind.is_dir() {
                self.make_folder(&path)?;
                self.load_below(&entry.path(), &path)?;
            } else if kind.is_symlink() {
                let target = fs::read_link(entry.path())?;
                self.symlink(&path, target.to_str().ok_or_else(|| not_found(&target))?)?;
            } else if kind.is_file() {
                self.open(&path, true)?.write_at(&fs::read(entry.path())?, 0)?;
            }
        }
        Ok(())
    }

    /// Lays out in a real folder, which is empty, what the disk holds.
    pub fn lay_out(&self, folder: &Path) -> io::Result<()> {
        let state = self.state();
        let Inode::Folder(top) = &state.inodes[0] else { return Err(io::ErrorKind::NotADirectory.into()) };
        lay_out(&state.inodes, top, folder)
    }
}

fn lay_out(inodes: &[Inode], from: &Folder, folder: &Path) -> io::Result<()> {
    for (name, inode) in &from.current {
        let path = folder.join(name);
        match &inodes[*inode] {
            Inode::File(content) => fs::write(path, content.bytes())?,
            Inode::Link(target) => symlink(target, path)?,
            Inode::Folder(inner) => {
                fs::create_dir(&path)?;
                lay_out(inodes, inner, &path)?;
            }
        }
    }
    Ok(())
}
