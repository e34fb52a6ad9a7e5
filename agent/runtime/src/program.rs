//! The agent's own file, as what comes near containers is run from it: on a mount of its own that is read-only, and
//! that no mount namespace has.
//!
//! A process on its way into a container is the agent's program until its very last step. So a container may run that
//! program, by the name /proc/self/exe, and whoever sees the process there may open its file, which is the host's, and
//! change it or its owner and mode (CVE-2019-5736). Through this mount nobody can, whatever capabilities he has, and
//! its pages in memory are still those of the file, shared by all shims.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::idmap;

#[derive(Debug)]
pub(crate) struct Program(OwnedFd);

impl Program {
    pub fn open(executable: &Path) -> io::Result<Self> {
        let tree = idmap::copy(executable, false)?;
        idmap::make_read_only(&tree, executable)?;
        Ok(Self(tree))
    }

    /// For execve(2), in this process and its children alone. What was executed runs others by its /proc/self/exe.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}
