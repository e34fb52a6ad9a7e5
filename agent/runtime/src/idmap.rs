//! Mounts that show a user namespace the owners of files as they are on disk: root's there are its root's.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use libcontainer::syscall::linux::{self, LinuxSyscall, MountAttr};
use libcontainer::syscall::{Syscall, SyscallError};

/// Of linux/mount.h; the library does not name it.
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

/// Mounts a folder a second time at `target`, read-only, with owners as the namespace at `users` has them.
pub fn mount_layer(users: &Path, source: &Path, target: &Path) -> io::Result<()> {
    let tree = copy(source, false)?;
    map(&tree, &File::open(users)?, linux::MOUNT_ATTR_RDONLY, source)?;
    attach(&tree, target)
}

/// A copy of a mount that is nowhere yet, with those below it where it is recursive.
pub(crate) fn copy(source: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= libc::AT_RECURSIVE as libc::c_uint;
    }
    let path = source.to_str().ok_or(io::ErrorKind::InvalidInput)?;
    LinuxSyscall.open_tree(libc::AT_FDCWD, Some(path), flags).map_err(words(source))
}

/// Has nothing of a copy be changed, by anybody.
pub(crate) fn make_read_only(tree: &OwnedFd, source: &Path) -> io::Result<()> {
    set(tree, linux::MOUNT_ATTR_RDONLY, 0).map_err(words(source))
}

/// Maps a copy's owners; not those of mounts below it, whose files belong to nobody then.
pub(crate) fn map(tree: &OwnedFd, users: &File, attributes: u64, source: &Path) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let users = u64::try_from(users.as_raw_fd()).unwrap_or(u64::MAX);
    set(tree, MOUNT_ATTR_IDMAP | attributes, users).map_err(|error| match error {
        SyscallError::Nix(errno) if errno as i32 == libc::EINVAL => {
            let why = "its file system cannot be mounted with a user namespace's ids on this kernel";
            io::Error::new(io::ErrorKind::Unsupported, format!("{}: {why}", source.display()))
        }
        error => words(source)(error),
    })
}

fn set(tree: &OwnedFd, attr_set: u64, userns_fd: u64) -> Result<(), SyscallError> {
    let attr = MountAttr { attr_set, attr_clr: 0, propagation: 0, userns_fd };
    LinuxSyscall.mount_setattr(tree.as_fd(), Path::new(""), linux::AT_EMPTY_PATH, &attr, size_of::<MountAttr>())
}

pub(crate) fn attach(tree: &OwnedFd, target: &Path) -> io::Result<()> {
    let place = File::open(target)?;
    let flags = linux::MOVE_MOUNT_F_EMPTY_PATH | linux::MOVE_MOUNT_T_EMPTY_PATH;
    LinuxSyscall.move_mount(tree.as_fd(), None, place.as_fd(), None, flags).map_err(words(target))
}

fn words(path: &Path) -> impl FnOnce(SyscallError) -> io::Error {
    let path = path.display().to_string();
    move |error| match error {
        SyscallError::Nix(errno) => {
            let error = io::Error::from_raw_os_error(errno as i32);
            io::Error::new(error.kind(), format!("{path}: {error}"))
        }
        error => io::Error::other(format!("{path}: {error}")),
    }
}
