//! One small process per pod that keeps its containers while agents come and go.
//!
//! It has one thread, no timer but for a viewer that is behind, and waits in poll(2): for requests on its socket, for ends of children through a
//! signalfd, and for output of containers. It is the parent of every container's first process (the workers clone
//! them as their siblings) and the subreaper of what they leave behind. What it must not lose lies in files:
//! `state.json` of each container, replaced whole, before anybody is told.

mod child;
mod connection;
mod container;
mod log;
mod tty;
mod viewers;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::time::{Duration, SystemTime};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::cgroup;
use crate::layout::SandboxDir;
use connection::Connection;
use container::Container;

/// Agents and exec sessions that one shim serves at a time.
const CONNECTIONS_MAX: usize = 256;

pub(crate) struct Shim {
    dir: SandboxDir,
    /// The pod's cgroup; a container's lies below it.
    cgroup: String,
    containers: BTreeMap<String, Container>,
    connections: BTreeMap<u64, Connection>,
    next_connection: u64,
}

/// What a descriptor in the poll set belongs to.
#[derive(Clone)]
enum Source {
    Listener,
    Signals,
    Connection(u64),
    Output(String, usize),
    Viewers(String),
}

/// The shim's whole life. Its listening socket is descriptor 0, so that it can be reached before it runs.
pub(crate) fn run(dir: &str, cgroup: &str) -> io::Result<()> {
    // Before it has a worker, so that all of them are found there.
    cgroup::keep(cgroup, std::process::id())?;
    child::settle()?;
    let listener = child::take_listener()?;
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), None)?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let mut shim = Shim::load(SandboxDir(dir.into()))?;
    loop {
        let (sources, ready) = shim.wait(&listener, &signals)?;
        for (source, ready) in sources.into_iter().zip(ready) {
            if ready {
                shim.serve(&source, &listener, &signals)?;
            }
        }
    }
}

impl Shim {
    fn load(dir: SandboxDir) -> io::Result<Self> {
        let record: crate::runtime::Record = crate::layout::load(&dir.spec())?;
        let mut shim = Self {
            dir,
            cgroup: record.cgroup,
            containers: BTreeMap::new(),
            connections: BTreeMap::new(),
            next_connection: 0,
        };
        if record.spec.share_process_namespace {
            crate::holder::make(&shim.dir, &shim.cgroup)?;
        }
        shim.recover();
        Ok(shim)
    }

    fn wait(&self, listener: &UnixListener, signals: &SignalFd) -> io::Result<(Vec<Source>, Vec<bool>)> {
        let mut sources = Vec::new();
        let mut fds: Vec<(BorrowedFd, PollFlags)> = Vec::new();
        // Ends come last: what a container wrote before its end is read before.
        for (id, container) in &self.containers {
            for (index, stream) in container.outputs() {
                sources.push(Source::Output(id.clone(), index));
                fds.push((stream, PollFlags::POLLIN));
            }
            for pipe in container.viewers.waiting() {
                sources.push(Source::Viewers(id.clone()));
                fds.push((pipe, PollFlags::POLLOUT));
            }
        }
        for (number, connection) in &self.connections {
            sources.push(Source::Connection(*number));
            fds.push((connection.stream.as_fd(), PollFlags::POLLIN));
        }
        sources.push(Source::Listener);
        fds.push((listener.as_fd(), PollFlags::POLLIN));
        sources.push(Source::Signals);
        fds.push((signals.as_fd(), PollFlags::POLLIN));
        let mut polled: Vec<PollFd> = fds.iter().map(|(fd, flags)| PollFd::new(*fd, *flags)).collect();
        let patience = self.containers.values().filter_map(|container| container.viewers.patience()).min();
        if patience == Some(Duration::ZERO) {
            drop(polled);
            return Ok(self.late());
        }
        // A moment more, so that it is over when we look.
        let timeout = patience.map(|limit| PollTimeout::try_from(limit.as_millis() + 1));
        match poll(&mut polled, timeout.and_then(Result::ok).unwrap_or(PollTimeout::NONE)) {
            Ok(0) => return Ok(self.late()),
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = polled.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        Ok((sources, ready))
    }

    /// Every viewer that is behind, to be looked at.
    fn late(&self) -> (Vec<Source>, Vec<bool>) {
        let behind = self.containers.iter().filter(|(_, container)| container.viewers.patience().is_some());
        behind.map(|(id, _)| (Source::Viewers(id.clone()), true)).unzip()
    }

    fn serve(&mut self, source: &Source, listener: &UnixListener, signals: &SignalFd) -> io::Result<()> {
        match source {
            Source::Listener => {
                let (stream, _) = listener.accept()?;
                if self.connections.len() < CONNECTIONS_MAX {
                    self.next_connection += 1;
                    self.connections.insert(self.next_connection, Connection::new(stream)?);
                }
            }
            Source::Signals => {
                while let Ok(Some(_)) = signals.read_signal() {}
                self.reap();
            }
            Source::Connection(number) => self.answer(*number),
            Source::Viewers(id) => {
                if let Some(container) = self.containers.get_mut(id) {
                    container.viewers.settle();
                }
            }
            Source::Output(id, index) => {
                if let Some(container) = self.containers.get_mut(id) {
                    container.read_output(*index);
                }
            }
        }
        Ok(())
    }

    /// Takes the ends of all children: containers, execs, and orphans that came to us as their subreaper.
    fn reap(&mut self) {
        while let Some((pid, code, signal)) = child::reap_one() {
            if let Some(number) = self.exec_of(pid) {
                self.end_exec(number, code);
                continue;
            }
            let found = self.containers.iter_mut().find(|(_, container)| container.pid() == Some(pid));
            if let Some((id, container)) = found {
                let id = id.clone();
                let cgroup = format!("{}/{id}", self.cgroup);
                let exit = container.end(code, signal, &cgroup, SystemTime::now());
                self.tell(&id, &exit);
            }
        }
    }
}

/// The raw descriptor of something that stays open during the call.
fn raw(fd: &impl AsRawFd) -> RawFd {
    fd.as_raw_fd()
}
