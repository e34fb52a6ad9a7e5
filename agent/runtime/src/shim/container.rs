//! One container as its shim sees it: its state, its output, its end.

use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::SystemTime;

use libcontainer::container::Container as LibraryContainer;

use super::child::{self, Streams};
use super::log::Log;
use super::tty::Console;
use super::viewers::Viewers;
use crate::cgroup::stats;
use crate::dispatch;
use crate::layout::{ContainerDir, load, save};
use crate::spec::ContainerSpec;
use crate::status::{ContainerState, Exit};

/// Kubernetes' own limit of a termination message.
const MESSAGE_BYTES_MAX: u64 = 4096;
/// Output taken in at a time; also what one write to the log may hold.
const READ_BYTES: usize = 64 << 10;
/// At its end a container's pipes may be full, and its children may go on writing: so much is still read.
const DRAIN_READS_MAX: usize = 64;

pub(super) struct Container {
    dir: ContainerDir,
    spec: ContainerSpec,
    pub state: ContainerState,
    /// stdout and stderr, or the terminal's master alone.
    outputs: [Option<OwnedFd>; 2],
    /// The write side of a stdin that is kept open.
    pub stdin: Option<OwnedFd>,
    log: Log,
    pub viewers: Viewers,
}

impl Container {
    /// Makes the container's process by a worker.
    pub fn create(dir: ContainerDir) -> Result<Self, String> {
        let words = |error: io::Error| error.to_string();
        let spec: ContainerSpec = load(&dir.spec()).map_err(words)?;
        let log = Log::open(&spec.log_path).map_err(|error| format!("log {}: {error}", spec.log_path.display()))?;
        let mut container = Self::idle(dir, spec, ContainerState::Absent, log);
        let pid = if container.spec.tty { container.create_with_tty() } else { container.create_with_pipes() }?;
        container.state = ContainerState::Created { pid };
        container.save().map_err(words)?;
        Ok(container)
    }

    /// What an earlier shim of this pod left: its containers cannot be followed any more.
    pub fn found(dir: ContainerDir) -> io::Result<Self> {
        let spec = load(&dir.spec())?;
        let state = load::<ContainerState>(&dir.state()).unwrap_or_default().without_shim();
        save(&dir.state(), &state)?;
        Ok(Self::idle(dir, spec, state, Log::open("".as_ref())?))
    }

    /// Without streams.
    fn idle(dir: ContainerDir, spec: ContainerSpec, state: ContainerState, log: Log) -> Self {
        Self { dir, spec, state, outputs: [None, None], stdin: None, log, viewers: Viewers::default() }
    }

    fn create_with_tty(&mut self) -> Result<u32, String> {
        let words = |error: io::Error| format!("terminal: {error}");
        let console = Console::open(&self.dir).map_err(words)?;
        let pid = child::work(dispatch::CREATE, &self.dir, Streams::default())?;
        let master = console.master().map_err(words)?;
        child::set_nonblocking(&master).map_err(words)?;
        self.outputs[0] = Some(master);
        Ok(pid)
    }

    fn create_with_pipes(&mut self) -> Result<u32, String> {
        let words = |error: io::Error| format!("pipes: {error}");
        let (out, out_theirs) = child::output_pipe().map_err(words)?;
        let (err, err_theirs) = child::output_pipe().map_err(words)?;
        let mut streams = Streams { stdin: None, stdout: Some(out_theirs), stderr: Some(err_theirs) };
        if self.spec.stdin {
            let (theirs, ours) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|e| words(e.into()))?;
            streams.stdin = Some(theirs);
            self.stdin = Some(ours);
        }
        let pid = child::work(dispatch::CREATE, &self.dir, streams)?;
        self.outputs = [Some(out), Some(err)];
        Ok(pid)
    }

    pub fn start(&mut self) -> Result<(), String> {
        let ContainerState::Created { pid } = self.state else {
            return Err("it is not waiting for its start".into());
        };
        // Before the start: a short-lived one may end before we look again.
        self.state = ContainerState::Running { pid, started_at: SystemTime::now() };
        self.save().map_err(|error| error.to_string())?;
        let path = self.dir.library_root().join(&self.spec.id);
        let started = LibraryContainer::load(path).and_then(|mut container| container.start());
        started.map_err(|error| error.to_string())
    }

    pub fn pid(&self) -> Option<u32> {
        match self.state {
            ContainerState::Created { pid } | ContainerState::Running { pid, .. } => Some(pid),
            _ => None,
        }
    }

    pub fn dir(&self) -> &ContainerDir {
        &self.dir
    }

    /// Its process reads the end of its stdin, once all who write to it have closed it too.
    pub fn close_stdin(&mut self) -> Result<(), String> {
        self.stdin = None;
        Ok(())
    }

    /// The terminal's master, for who wants to write to it.
    pub fn terminal(&self) -> Option<&OwnedFd> {
        if self.spec.tty { self.outputs[0].as_ref() } else { None }
    }

    /// What can be read of now; nothing while a viewer is behind.
    pub fn outputs(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let held_up = self.viewers.patience().is_some();
        let outputs = self.outputs.iter().enumerate().filter(move |_| !held_up);
        outputs.filter_map(|(index, fd)| Some((index, fd.as_ref()?.as_fd())))
    }

    /// Takes in what is there; false when nothing more can come for now.
    pub fn read_output(&mut self, index: usize) -> bool {
        let Some(fd) = &self.outputs[index] else { return false };
        let mut buffer = [0; READ_BYTES];
        match nix::unistd::read(fd, &mut buffer) {
            Ok(got) if got > 0 => {
                self.log.write(index, &buffer[..got]);
                self.viewers.show(index, &buffer[..got]);
                got == READ_BYTES
            }
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => false,
            // The end; a terminal whose last holder is gone says EIO.
            _ => {
                self.outputs[index] = None;
                if self.outputs.iter().all(Option::is_none) {
                    self.log.finish();
                }
                false
            }
        }
    }

    /// The first process has ended: what it wrote is taken in, and its end is on disk before anybody is told.
    pub fn end(&mut self, exit_code: i32, signal: Option<i32>, cgroup: &str, finished_at: SystemTime) -> Exit {
        for index in 0..self.outputs.len() {
            let mut reads = 0;
            while reads < DRAIN_READS_MAX && self.read_output(index) {
                reads += 1;
            }
        }
        self.log.finish();
        self.viewers.end();
        self.stdin = None;
        let started_at = match self.state {
            ContainerState::Running { started_at, .. } => Some(started_at),
            _ => None,
        };
        let exit = Exit {
            exit_code,
            signal,
            oom_killed: stats::oom_kills(cgroup) > 0,
            started_at,
            finished_at,
            message: self.message(),
            lost: false,
        };
        self.state = ContainerState::Exited(exit.clone());
        if let Err(error) = self.save() {
            eprintln!("failed to save the end of container {}: {error}", self.spec.id);
        }
        exit
    }

    fn message(&self) -> String {
        let mut bytes = Vec::new();
        if let Ok(file) = fs::File::open(self.dir.termination()) {
            let _ = file.take(MESSAGE_BYTES_MAX).read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn save(&self) -> io::Result<()> {
        save(&self.dir.state(), &self.state)
    }
}

impl std::fmt::Debug for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fds: Vec<i32> = self.outputs.iter().flatten().map(AsRawFd::as_raw_fd).collect();
        f.debug_struct("Container").field("id", &self.spec.id).field("outputs", &fds).finish()
    }
}
