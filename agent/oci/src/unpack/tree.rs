use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{
        AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, chownat,
        fchmod, fchown, fsetxattr, linkat, mkdirat, mknodat, openat, openat2, readlinkat, statat, symlinkat, unlinkat,
        utimensat,
    },
    io::Errno,
};

use super::{
    UnpackError,
    entry::{Meta, parts, shown},
};

/// As the kernel's own limit for following symlinks.
const LINKS_MAX: usize = 40;
/// Of folders below one that is replaced by a file.
const REMOVE_DEPTH_MAX: usize = 256;
const OPAQUE_XATTR: &str = "trusted.overlay.opaque";

/// A layer's folder while it is filled. Every step names one part below a folder that is held open, and follows
/// no symlink: those of the layer are resolved here, inside the root.
pub(super) struct Tree {
    root: OwnedFd,
    lower: Vec<OwnedFd>,
    /// The folder that the last entry was in: most entries share it with the one before.
    last: Option<(Vec<Vec<u8>>, OwnedFd)>,
    /// Folders whose time is set at the end, since filling them changes it.
    times: Vec<(Vec<Vec<u8>>, Duration)>,
}

impl Tree {
    pub fn open(root: &Path, lower: &[PathBuf]) -> Result<Self, UnpackError> {
        let open = |path: &Path| {
            rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(
                |errno| UnpackError::Io { action: "open", path: path.display().to_string(), source: errno.into() },
            )
        };
        let lower = lower.iter().map(|path| open(path)).collect::<Result<_, _>>()?;
        Ok(Self { root: open(root)?, lower, last: None, times: Vec::new() })
    }

    pub fn finish(mut self) -> Result<(), UnpackError> {
        for (path, modified) in std::mem::take(&mut self.times) {
            // A later entry may have replaced the folder.
            if let Ok(folder) = open_folder(&self.root, &path) {
                utimensat(&folder, ".", &timestamps(modified), AtFlags::empty())
                    .map_err(failed("set the time of", &path))?;
            }
        }
        Ok(())
    }

    pub fn root_attributes(&mut self, meta: &Meta) -> Result<(), UnpackError> {
        fchown(&self.root, Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid))).map_err(failed("own", &[]))?;
        fchmod(&self.root, Mode::from_raw_mode(meta.mode)).map_err(failed("set the mode of", &[]))
    }

    pub fn make_opaque(&mut self, folder: &[Vec<u8>]) -> Result<(), UnpackError> {
        let fd = self.folder(folder)?;
        fsetxattr(&fd, OPAQUE_XATTR, b"y", XattrFlags::empty()).map_err(failed("make opaque", folder))
    }

    pub fn whiteout(&mut self, parent: &[Vec<u8>], name: &[u8]) -> Result<(), UnpackError> {
        let folder = self.folder(parent)?;
        match kind_of(&folder, name) {
            // The layer removes what is below and has a folder of its own: it shows only the latter.
            Some(FileType::Directory) => self.make_opaque(&[parent, &[name.to_vec()]].concat()),
            Some(_) => Ok(()),
            None => mknodat(&folder, OsStr::from_bytes(name), FileType::CharacterDevice, Mode::empty(), 0)
                .map_err(failed("mark as removed", &[parent, &[name.to_vec()]].concat())),
        }
    }

    pub fn file(
        &mut self,
        parent: &[Vec<u8>],
        name: &[u8],
        meta: &Meta,
        content: &mut impl Read,
    ) -> Result<(), UnpackError> {
        let folder = self.replace(parent, name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&folder, OsStr::from_bytes(name), flags, Mode::from_raw_mode(0o600))
            .map_err(failed("create", &meta.path))?;
        let mut file = File::from(fd);
        io::copy(content, &mut file).map_err(|source| UnpackError::Io {
            action: "write",
            path: meta.shown(),
            source,
        })?;
        // In this order: a change of owner clears setuid and capabilities, and writing changes the time.
        fchown(&file, Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))
            .map_err(failed("own", &meta.path))?;
        fchmod(&file, Mode::from_raw_mode(meta.mode)).map_err(failed("set the mode of", &meta.path))?;
        if let Some(capability) = &meta.capability {
            fsetxattr(&file, "security.capability", capability, XattrFlags::empty())
                .map_err(failed("give capabilities to", &meta.path))?;
        }
        rustix::fs::futimens(&file, &timestamps(meta.modified)).map_err(failed("set the time of", &meta.path))
    }

    pub fn directory(&mut self, parent: &[Vec<u8>], name: &[u8], meta: &Meta) -> Result<(), UnpackError> {
        let folder = self.folder(parent)?;
        let before = kind_of(&folder, name);
        if before != Some(FileType::Directory) {
            self.last = None;
            if before.is_some() {
                unlinkat(&folder, OsStr::from_bytes(name), AtFlags::empty()).map_err(failed("replace", &meta.path))?;
            }
            mkdirat(&folder, OsStr::from_bytes(name), Mode::from_raw_mode(0o700))
                .map_err(failed("create", &meta.path))?;
        }
        let fd = open_folder(&folder, &[name.to_vec()]).map_err(failed("open", &meta.path))?;
        if before == Some(FileType::CharacterDevice) {
            fsetxattr(&fd, OPAQUE_XATTR, b"y", XattrFlags::empty()).map_err(failed("make opaque", &meta.path))?;
        }
        fchown(&fd, Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid))).map_err(failed("own", &meta.path))?;
        fchmod(&fd, Mode::from_raw_mode(meta.mode)).map_err(failed("set the mode of", &meta.path))?;
        self.times.push((meta.path.clone(), meta.modified));
        Ok(())
    }

    pub fn symlink(&mut self, parent: &[Vec<u8>], name: &[u8], meta: &Meta) -> Result<(), UnpackError> {
        let folder = self.replace(parent, name)?;
        symlinkat(OsStr::from_bytes(&meta.link), &folder, OsStr::from_bytes(name))
            .map_err(failed("link", &meta.path))?;
        self.own(&folder, name, meta)
    }

    pub fn hard_link(&mut self, parent: &[Vec<u8>], name: &[u8], meta: &Meta) -> Result<(), UnpackError> {
        let missing =
            || UnpackError::LinkTarget { path: meta.shown(), target: String::from_utf8_lossy(&meta.link).into_owned() };
        let target = parts(&meta.link, usize::MAX)?;
        let Some((target_name, target_parent)) = target.split_last() else { return Err(missing()) };
        let from = self.existing(target_parent).map_err(|_| missing())?;
        match kind_of(&from, target_name) {
            None | Some(FileType::Directory | FileType::CharacterDevice) => return Err(missing()),
            Some(_) if target == meta.path => return Ok(()),
            Some(_) => {}
        }
        let folder = self.replace(parent, name)?;
        linkat(&from, OsStr::from_bytes(target_name), &folder, OsStr::from_bytes(name), AtFlags::empty())
            .map_err(failed("link", &meta.path))
    }

    pub fn fifo(&mut self, parent: &[Vec<u8>], name: &[u8], meta: &Meta) -> Result<(), UnpackError> {
        let folder = self.replace(parent, name)?;
        mknodat(&folder, OsStr::from_bytes(name), FileType::Fifo, Mode::from_raw_mode(meta.mode), 0)
            .map_err(failed("create", &meta.path))?;
        self.own(&folder, name, meta)
    }

    fn own(&self, folder: &OwnedFd, name: &[u8], meta: &Meta) -> Result<(), UnpackError> {
        let name = OsStr::from_bytes(name);
        chownat(folder, name, Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed("own", &meta.path))?;
        utimensat(folder, name, &timestamps(meta.modified), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed("set the time of", &meta.path))
    }

    /// Opens the parent and removes what has the name so far.
    fn replace(&mut self, parent: &[Vec<u8>], name: &[u8]) -> Result<OwnedFd, UnpackError> {
        let folder = self.folder(parent)?;
        let path = [parent, &[name.to_vec()]].concat();
        match kind_of(&folder, name) {
            None => {}
            Some(FileType::Directory) => {
                self.last = None;
                remove_all(&folder, name, REMOVE_DEPTH_MAX).map_err(failed("replace", &path))?;
            }
            Some(_) => {
                unlinkat(&folder, OsStr::from_bytes(name), AtFlags::empty()).map_err(failed("replace", &path))?
            }
        }
        Ok(folder)
    }

    /// Opens a folder of the layer, and makes what is missing of it.
    fn folder(&mut self, path: &[Vec<u8>]) -> Result<OwnedFd, UnpackError> {
        if let Some((last, fd)) = &self.last
            && last == path
        {
            return fd.try_clone().map_err(|source| UnpackError::Io { action: "open", path: shown(path), source });
        }
        let resolved = self.resolve(path, true)?;
        let fd = open_folder(&self.root, &resolved).map_err(failed("open", path))?;
        let kept = fd.try_clone().map_err(|source| UnpackError::Io { action: "open", path: shown(path), source })?;
        self.last = Some((path.to_vec(), kept));
        Ok(fd)
    }

    fn existing(&mut self, path: &[Vec<u8>]) -> Result<OwnedFd, UnpackError> {
        let resolved = self.resolve(path, false)?;
        open_folder(&self.root, &resolved).map_err(failed("open", path))
    }

    /// Follows the layer's symlinks as if its folder were the root of everything.
    fn resolve(&mut self, path: &[Vec<u8>], create: bool) -> Result<Vec<Vec<u8>>, UnpackError> {
        let mut todo: Vec<Vec<u8>> = path.iter().rev().cloned().collect();
        let mut done: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == b".." {
                done.pop();
                continue;
            }
            let folder = open_folder(&self.root, &done).map_err(failed("open", &done))?;
            match kind_of(&folder, &part) {
                Some(FileType::Directory) => done.push(part),
                Some(FileType::Symlink) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(UnpackError::Limit {
                            what: "the number of symlinks in a path",
                            limit: LINKS_MAX as u64,
                        });
                    }
                    let target =
                        readlinkat(&folder, OsStr::from_bytes(&part), Vec::new()).map_err(failed("read", path))?;
                    if target.to_bytes().starts_with(b"/") {
                        done.clear();
                    }
                    let target = target.to_bytes().split(|b| *b == b'/').filter(|part| !matches!(*part, b"" | b"."));
                    todo.extend(target.rev().map(<[u8]>::to_vec));
                }
                None if create => {
                    done.push(part);
                    self.make_folder(&folder, &done)?;
                }
                _ => return Err(UnpackError::NotADirectory { path: shown(path) }),
            }
        }
        Ok(done)
    }

    /// Makes a folder that the tar left out, like the one that it will cover.
    fn make_folder(&self, parent: &OwnedFd, path: &[Vec<u8>]) -> Result<(), UnpackError> {
        let name = OsStr::from_bytes(path.last().map_or(b"".as_slice(), Vec::as_slice));
        mkdirat(parent, name, Mode::from_raw_mode(0o755)).map_err(failed("create", path))?;
        let Some(like) = self.lower.iter().find_map(|root| below(root, path)) else { return Ok(()) };
        let fd = openat(
            parent,
            name,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(failed("open", path))?;
        fchown(&fd, Some(Uid::from_raw(like.st_uid)), Some(Gid::from_raw(like.st_gid))).map_err(failed("own", path))?;
        fchmod(&fd, Mode::from_raw_mode(like.st_mode & 0o7777)).map_err(failed("set the mode of", path))
    }
}

/// A folder of a lower layer at this path.
fn below(root: &OwnedFd, path: &[Vec<u8>]) -> Option<Stat> {
    let fd = open_folder(root, path).ok()?;
    rustix::fs::fstat(&fd).ok()
}

fn open_folder(root: &OwnedFd, path: &[Vec<u8>]) -> Result<OwnedFd, Errno> {
    let joined = path.join(&b'/');
    let joined = if joined.is_empty() { b".".as_slice() } else { &joined };
    openat2(
        root,
        OsStr::from_bytes(joined),
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV,
    )
}

fn kind_of(folder: &OwnedFd, name: &[u8]) -> Option<FileType> {
    let stat = statat(folder, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(FileType::from_raw_mode(stat.st_mode))
}

fn remove_all(folder: &OwnedFd, name: &[u8], depth: usize) -> Result<(), Errno> {
    if depth == 0 {
        return Err(Errno::NAMETOOLONG);
    }
    let inner = open_folder(folder, &[name.to_vec()])?;
    for entry in Dir::read_from(&inner)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        match kind_of(&inner, name) {
            Some(FileType::Directory) => remove_all(&inner, name, depth - 1)?,
            _ => unlinkat(&inner, OsStr::from_bytes(name), AtFlags::empty())?,
        }
    }
    unlinkat(folder, OsStr::from_bytes(name), AtFlags::REMOVEDIR)
}

fn timestamps(modified: Duration) -> Timestamps {
    let time =
        Timespec { tv_sec: i64::try_from(modified.as_secs()).unwrap_or(0), tv_nsec: modified.subsec_nanos().into() };
    Timestamps { last_access: time, last_modification: time }
}

fn failed<'a>(action: &'static str, path: &'a [Vec<u8>]) -> impl FnOnce(Errno) -> UnpackError + 'a {
    move |errno| UnpackError::Io { action, path: shown(path), source: errno.into() }
}
