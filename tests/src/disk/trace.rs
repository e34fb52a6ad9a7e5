//! What a program does to a folder, as strace sees it, in its order: to be done again on a simulated disk.
//!
//! Contents and names are followed; modes, owners, times and attributes are not.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Disk;
use crate::program::Said;

mod call;

use call::Call;

/// Calls that change a folder, and those of which nobody has taught this module what they change.
const CALLS: &str = "open,openat,creat,write,pwrite64,writev,lseek,ftruncate,truncate,fsync,fdatasync,syncfs,sync,\
    rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,symlink,symlinkat,link,linkat";
const UNKNOWN: &str = "pwritev,pwritev2,fallocate,copy_file_range,sendfile,splice,openat2,msync";

/// One thing that was done.
#[derive(Debug, Clone)]
pub enum Step {
    /// A line that the program wrote into its file of marks.
    Mark(String),
    Change(Change),
}

/// Paths lie below the folder that is followed.
#[derive(Debug, Clone)]
pub enum Change {
    /// Opened so that it is there, and empty where that was asked for.
    Open {
        path: PathBuf,
        emptied: bool,
    },
    Write {
        path: PathBuf,
        offset: Option<u64>,
        bytes: Vec<u8>,
    },
    Resize {
        path: PathBuf,
        length: u64,
    },
    Sync {
        path: PathBuf,
    },
    SyncAll,
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    MakeFolder {
        path: PathBuf,
    },
    Symlink {
        path: PathBuf,
        target: String,
    },
    HardLink {
        path: PathBuf,
        from: PathBuf,
    },
}

impl Change {
    /// Does it again.
    pub fn apply(&self, disk: &Disk) -> std::io::Result<()> {
        match self {
            Self::Open { path, emptied } => {
                let file = disk.open(path, false)?;
                if *emptied && !file.is_empty()? { file.set_len(0) } else { Ok(()) }
            }
            Self::Write { path, offset, bytes } => {
                let file = disk.open(path, false)?;
                let end = file.len()?;
                file.write_at(bytes, offset.unwrap_or(end))
            }
            Self::Resize { path, length } => disk.open(path, false)?.set_len(*length),
            Self::Sync { path } if disk.is_folder(path)? => disk.sync_folder(path),
            Self::Sync { path } => disk.open(path, false)?.sync(),
            Self::SyncAll => disk.sync_all(),
            Self::Rename { from, to } => disk.rename(from, to),
            Self::Remove { path } => disk.remove(path),
            Self::MakeFolder { path } => disk.make_folder(path),
            Self::Symlink { path, target } => disk.symlink(path, target),
            Self::HardLink { path, from } => disk.hard_link(from, path),
        }
    }
}

/// Runs a program to its good end, and tells what it did below `root` and wrote into `marks`.
pub fn trace(program: &Command, root: &Path, marks: &Path) -> Vec<Step> {
    let folder = tempfile::tempdir().expect("a folder for the trace");
    let file = folder.path().join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "--seccomp-bpf", "-y", "-xx", "-s", "4000000", "--signal=none"]);
    command.arg("-e").arg(format!("trace={CALLS},{UNKNOWN}")).arg("-o").arg(&file);
    command.arg(program.get_program()).args(program.get_args());
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Said::by(&mut command).ok();
    let text = fs::read_to_string(&file).expect("strace writes text");
    let mut reader = Reader { root, marks, positions: HashMap::new(), steps: Vec::new() };
    call::calls(&text).iter().for_each(|call| reader.take(call));
    reader.steps
}

struct Reader<'a> {
    root: &'a Path,
    marks: &'a Path,
    /// Where each open file is written next; at its end where it is not known.
    positions: HashMap<String, u64>,
    steps: Vec<Step>,
}

impl Reader<'_> {
    fn below(&self, path: Option<PathBuf>) -> Option<PathBuf> {
        path?.strip_prefix(self.root).map(Path::to_owned).ok()
    }

    fn take(&mut self, call: &Call) {
        let change = match call.name {
            "open" | "openat" | "creat" => self.open(call),
            "write" | "writev" => return self.write(call),
            "pwrite64" => self.below(call.file(0)).map(|path| Change::Write {
                path,
                offset: Some(call.number(call.arguments.len() - 1)),
                bytes: call.bytes(1),
            }),
            "lseek" => {
                self.positions.insert(call.descriptor(0), call.result_number());
                None
            }
            "ftruncate" => self.below(call.file(0)).map(|path| Change::Resize { path, length: call.number(1) }),
            "truncate" => self.below(call.path(None, 0)).map(|path| Change::Resize { path, length: call.number(1) }),
            "fsync" | "fdatasync" => self.below(call.file(0)).map(|path| Change::Sync { path }),
            "syncfs" => self.below(call.file(0)).map(|_| Change::SyncAll),
            "sync" => Some(Change::SyncAll),
            "rename" => self.pair(call.path(None, 0), call.path(None, 1)),
            "renameat" | "renameat2" => self.pair(call.path(Some(0), 1), call.path(Some(2), 3)),
            "unlink" | "rmdir" => self.below(call.path(None, 0)).map(|path| Change::Remove { path }),
            "unlinkat" => self.below(call.path(Some(0), 1)).map(|path| Change::Remove { path }),
            "mkdir" => self.below(call.path(None, 0)).map(|path| Change::MakeFolder { path }),
            "mkdirat" => self.below(call.path(Some(0), 1)).map(|path| Change::MakeFolder { path }),
            "symlink" => self.symlink(call, call.path(None, 1)),
            "symlinkat" => self.symlink(call, call.path(Some(1), 2)),
            "link" => self.hard_link(call.path(None, 0), call.path(None, 1)),
            "linkat" => self.hard_link(call.path(Some(0), 1), call.path(Some(2), 3)),
            name => {
                let touched = (0..call.arguments.len()).find_map(|index| self.below(call.file(index)));
                let only_reads = name == "openat2" && !call.says("O_CREAT") && !call.says("O_TRUNC");
                assert!(touched.is_none() || only_reads, "nobody knows what {call:?} changes");
                None
            }
        };
        self.steps.extend(change.map(Step::Change));
    }

    fn open(&mut self, call: &Call) -> Option<Change> {
        if call.says("O_APPEND") {
            self.positions.remove(&call.result_descriptor());
        } else {
            self.positions.insert(call.result_descriptor(), 0);
        }
        let path = self.below(call.result_file())?;
        let emptied = call.says("O_TRUNC") || call.name == "creat";
        (emptied || call.says("O_CREAT")).then_some(Change::Open { path, emptied })
    }

    fn write(&mut self, call: &Call) {
        let Some(file) = call.file(0) else { return };
        let bytes = call.bytes(1);
        if file == self.marks {
            let text = String::from_utf8(bytes).expect("marks are text");
            return self.steps.extend(text.lines().map(|line| Step::Mark(line.to_owned())));
        }
        let Some(path) = self.below(Some(file)) else { return };
        let position = self.positions.get_mut(&call.descriptor(0));
        let offset = position.as_deref().copied();
        if let Some(position) = position {
            *position += bytes.len() as u64;
        }
        self.steps.push(Step::Change(Change::Write { path, offset, bytes }));
    }

    fn pair(&self, from: Option<PathBuf>, to: Option<PathBuf>) -> Option<Change> {
        Some(Change::Rename { from: self.below(from)?, to: self.below(to)? })
    }

    fn symlink(&self, call: &Call, path: Option<PathBuf>) -> Option<Change> {
        let target = String::from_utf8(call.string(0)).expect("a test's links are text");
        Some(Change::Symlink { path: self.below(path)?, target })
    }

    fn hard_link(&self, from: Option<PathBuf>, path: Option<PathBuf>) -> Option<Change> {
        Some(Change::HardLink { path: self.below(path)?, from: self.below(from)? })
    }
}
