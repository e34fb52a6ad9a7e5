//! Requests of the agent and their answers.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::child::{self, Streams};
use super::container::Container;
use super::tty::Console;
use super::{Shim, raw};
use crate::dispatch;
use crate::layout::is_valid_id;
use crate::protocol::{Request, Response, receive, send};
use crate::status::{ContainerState, Exit};
use crate::worker;

/// The agent sends whole frames and reads its answers: one that does not is cut off, since all others wait for it.
const STALL_LIMIT: Duration = Duration::from_secs(5);

pub(super) struct Connection {
    pub stream: UnixStream,
    /// It wants to be told of ends.
    follows: bool,
    /// The process that lives as long as the connection.
    exec: Option<u32>,
}

impl Connection {
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(STALL_LIMIT))?;
        stream.set_write_timeout(Some(STALL_LIMIT))?;
        Ok(Self { stream, follows: false, exec: None })
    }
}

/// An answer, and a descriptor that goes with it.
type Answer = (Response, Option<OwnedFd>);

impl Shim {
    /// Finds what an earlier shim of this pod left on disk.
    pub(super) fn recover(&mut self) {
        for entry in std::fs::read_dir(self.dir.containers()).into_iter().flatten().flatten() {
            let id = entry.file_name().to_string_lossy().into_owned();
            if let Ok(container) = Container::found(self.dir.container(&id)) {
                self.containers.insert(id, container);
            }
        }
    }

    /// Reads one request of a connection and answers it.
    pub(super) fn answer(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let Ok(Some((request, fds))) = receive::<Request>(&mut connection.stream) else {
            self.close(number);
            return;
        };
        let (response, fd) = match request {
            Request::Create { container } => (self.create(&container), None),
            Request::Start { container } => (self.with(&container, Container::start), None),
            Request::Signal { container, signal } => (self.signal(&container, signal), None),
            Request::Remove { container } => (self.remove(&container), None),
            Request::Exec { container, process, tty } => self.exec(number, &container, &process, tty, fds),
            Request::List => (self.list(), None),
            Request::Follow => (self.follow(number), None),
            Request::Attach { container } => self.attach(&container),
            Request::Watch { container } => (self.watch(number, &container, fds), None),
            Request::CloseStdin { container } => (self.with(&container, Container::close_stdin), None),
            Request::Quit => std::process::exit(0),
        };
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let fds: Vec<i32> = fd.iter().map(raw).collect();
        if send(&mut connection.stream, &response, &fds).is_err() {
            self.close(number);
        }
    }

    fn close(&mut self, number: u64) {
        for container in self.containers.values_mut() {
            container.viewers.remove(number);
        }
        if let Some(Connection { exec: Some(pid), .. }) = self.connections.remove(&number) {
            let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
        }
    }

    fn with(&mut self, id: &str, act: impl FnOnce(&mut Container) -> Result<(), String>) -> Response {
        match self.containers.get_mut(id).map(act) {
            None => Response::NoContainer,
            Some(Ok(())) => Response::Done,
            Some(Err(reason)) => Response::Failed { reason },
        }
    }

    fn create(&mut self, id: &str) -> Response {
        if !is_valid_id(id) {
            return Response::Failed { reason: format!("{id:?} cannot name a container") };
        }
        if self.containers.get(id).is_some_and(|container| container.pid().is_some()) {
            return Response::Failed { reason: "it exists already".into() };
        }
        match Container::create(self.dir.container(id)) {
            Ok(container) => {
                let pid = container.pid().unwrap_or_default();
                self.containers.insert(id.to_owned(), container);
                Response::Created { pid }
            }
            Err(reason) => Response::Failed { reason },
        }
    }

    fn signal(&mut self, id: &str, signal: i32) -> Response {
        let Ok(signal) = Signal::try_from(signal) else {
            return Response::Failed { reason: format!("no signal {signal}") };
        };
        self.with(id, |container| match container.pid() {
            // Not reaped yet, so that the pid is still its own.
            Some(pid) => kill(Pid::from_raw(pid as i32), signal).map_err(|error| error.to_string()),
            None => Ok(()),
        })
    }

    fn remove(&mut self, id: &str) -> Response {
        match self.containers.get(id).map(Container::pid) {
            Some(Some(_)) => Response::Failed { reason: "it has a process".into() },
            Some(None) => {
                self.containers.remove(id);
                Response::Done
            }
            None => Response::Done,
        }
    }

    fn list(&self) -> Response {
        Response::Containers(self.containers.iter().map(|(id, one)| (id.clone(), one.state.clone())).collect())
    }

    fn follow(&mut self, number: u64) -> Response {
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.follows = true;
            for (id, container) in &self.containers {
                if let ContainerState::Exited(exit) = &container.state {
                    let ended = Response::Ended { container: id.clone(), exit: exit.clone() };
                    let _ = send(&mut connection.stream, &ended, &[]);
                }
            }
        }
        Response::Done
    }

    /// Tells all followers of an end; one that does not take it is cut off, and finds it when it comes back.
    pub(super) fn tell(&mut self, id: &str, exit: &Exit) {
        let ended = Response::Ended { container: id.to_owned(), exit: exit.clone() };
        self.connections
            .retain(|_, connection| !connection.follows || send(&mut connection.stream, &ended, &[]).is_ok());
    }

    fn attach(&mut self, id: &str) -> Answer {
        let Some(container) = self.containers.get(id) else { return (Response::NoContainer, None) };
        let fd = container.terminal().or(container.stdin.as_ref()).map(OwnedFd::try_clone);
        match fd {
            Some(Ok(fd)) => (Response::Done, Some(fd)),
            _ => (Response::Failed { reason: "its stdin is not open".into() }, None),
        }
    }

    fn watch(&mut self, number: u64, id: &str, fds: Vec<OwnedFd>) -> Response {
        self.with(id, |container| {
            if !matches!(container.state, ContainerState::Created { .. } | ContainerState::Running { .. }) {
                return Err("it is not running".into());
            }
            fds.iter().try_for_each(child::set_nonblocking).map_err(|error| error.to_string())?;
            let added = container.viewers.add(number, fds.into_iter());
            added.then_some(()).ok_or_else(|| "too many are attached to it".into())
        })
    }

    fn exec(&mut self, number: u64, id: &str, process: &str, tty: bool, fds: Vec<OwnedFd>) -> Answer {
        let Some(container) = self.containers.get(id) else { return (Response::NoContainer, None) };
        match run(container, process, tty, fds) {
            Ok((pid, master)) => {
                if let Some(connection) = self.connections.get_mut(&number) {
                    connection.exec = Some(pid);
                }
                (Response::Started { pid }, master)
            }
            Err(reason) => (Response::Failed { reason }, None),
        }
    }

    pub(super) fn exec_of(&self, pid: u32) -> Option<u64> {
        self.connections.iter().find(|(_, one)| one.exec == Some(pid)).map(|(number, _)| *number)
    }

    pub(super) fn end_exec(&mut self, number: u64, exit_code: i32) {
        if let Some(mut connection) = self.connections.remove(&number) {
            let _ = send(&mut connection.stream, &Response::ExecEnded { exit_code }, &[]);
        }
    }
}

fn run(container: &Container, process: &str, tty: bool, fds: Vec<OwnedFd>) -> Result<(u32, Option<OwnedFd>), String> {
    if !matches!(container.state, ContainerState::Running { .. }) {
        return Err("it is not running".into());
    }
    let words = |error: io::Error| error.to_string();
    let dir = container.dir();
    std::fs::write(dir.0.join(worker::EXEC_PROCESS), process).map_err(words)?;
    if tty {
        let console = Console::open(dir).map_err(words)?;
        let pid = child::work(dispatch::EXEC, dir, Streams::default())?;
        return Ok((pid, Some(console.master().map_err(words)?)));
    }
    let mut fds = fds.into_iter();
    let streams = Streams { stdin: fds.next(), stdout: fds.next(), stderr: fds.next() };
    Ok((child::work(dispatch::EXEC, dir, streams)?, None))
}
