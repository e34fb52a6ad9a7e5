//! Whether pods can have users of their own on this machine: tried in a process that ends, since it takes more than the
//! kernel's version to know.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde::{Deserialize, Serialize};

use crate::dispatch;
use crate::enforce;
use crate::idmap;
use crate::namespaces::lone_users;

/// For which pods there are user namespaces, and why not for others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserNamespaces {
    ForAll,
    /// For those that have nothing in memory, as Secrets and tokens are.
    OnDisk(String),
    ForNone(String),
}

impl UserNamespaces {
    /// Tries it with the file system of a folder, by an executable whose main calls `dispatch`.
    pub fn try_with(executable: &Path, folder: &Path) -> Self {
        let folder = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
        let tried = Command::new(executable).arg(dispatch::TRY_USERS).arg(folder).stdin(Stdio::null()).output();
        let found = tried.and_then(|out| Ok(serde_json::from_slice(&out.stdout)?));
        found.unwrap_or_else(|error| Self::ForNone(format!("it cannot be tried: {error}")))
    }

    fn of(folder: &Path) -> Self {
        let kernel = enforce::has_user_namespaces().map_err(io::Error::other);
        let users = match kernel.and_then(|()| lone_users()) {
            Ok(users) => users,
            Err(error) => return Self::ForNone(error.to_string()),
        };
        let maps = |folder| idmap::copy(folder, false).and_then(|tree| idmap::map(&tree, &users, 0, folder));
        if let Err(error) = maps(folder) {
            return Self::ForNone(error.to_string());
        }
        match put_memory_on(folder).and_then(|()| maps(folder)) {
            Ok(()) => Self::ForAll,
            Err(error) => Self::OnDisk(error.to_string()),
        }
    }
}

/// In a mount namespace of this process's own.
fn put_memory_on(folder: &Path) -> io::Result<()> {
    const NONE: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    Ok(mount(Some("trial"), folder, Some("tmpfs"), MsFlags::empty(), Some("size=4k"))?)
}

/// The trying process's whole life.
pub(crate) fn helper(folder: &str) -> io::Result<()> {
    println!("{}", serde_json::to_string(&UserNamespaces::of(folder.as_ref()))?);
    Ok(())
}
