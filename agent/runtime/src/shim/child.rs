//! Processes: the shim's own settling, workers, and reaping.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::cgroup;
use crate::layout::ContainerDir;
use crate::protocol;
use crate::worker::Outcome;

/// A worker that takes longer hangs, and is killed.
const WORKER_WAIT_MS: u16 = 60_000;
/// Keeps the result's descriptor clear of stdio.
const RESULT_FD_MIN: i32 = 10;

/// Leaves the agent's session, takes a name, and becomes the parent of orphans.
pub(super) fn settle() -> io::Result<()> {
    nix::unistd::setsid()?;
    // SAFETY: prctl with constants and a terminated name changes only this process.
    unsafe {
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_NAME, c"bramble-shim".as_ptr());
    }
    nix::unistd::chdir("/")?;
    Ok(())
}

/// The listening socket, moved off descriptor 0, where /dev/null takes its place.
pub(super) fn take_listener() -> io::Result<UnixListener> {
    let stdin = io::stdin();
    let moved = fcntl(stdin.as_fd(), FcntlArg::F_DUPFD_CLOEXEC(RESULT_FD_MIN))?;
    // SAFETY: the descriptor has just been made by the call above.
    let listener = UnixListener::from(unsafe { OwnedFd::from_raw_fd(moved) });
    nix::unistd::dup2_stdin(File::open("/dev/null")?)?;
    Ok(listener)
}

/// Standard streams of a process to be made; /dev/null where absent.
#[derive(Default)]
pub(super) struct Streams {
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

/// Runs a worker to its end and gives the pid of what it made, which is now our child.
pub(super) fn work(role: &str, dir: &ContainerDir, streams: Streams) -> Outcome {
    run_worker(role, dir, streams).unwrap_or_else(|error| Err(format!("worker: {error}")))
}

fn run_worker(role: &str, dir: &ContainerDir, streams: Streams) -> io::Result<Outcome> {
    let (result, theirs) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    // SAFETY: the descriptor has just been made by the call, without close-on-exec, so that the worker inherits it.
    let inherited = unsafe { OwnedFd::from_raw_fd(fcntl(&theirs, FcntlArg::F_DUPFD(RESULT_FD_MIN))?) };
    drop(theirs);
    let stdio = |fd: Option<OwnedFd>| fd.map_or_else(Stdio::null, Stdio::from);
    let mut worker = Command::new("/proc/self/exe")
        .arg0("bramble-shim")
        .arg(role)
        .arg(&dir.0)
        .arg(inherited.as_raw_fd().to_string())
        .stdin(stdio(streams.stdin))
        .stdout(stdio(streams.stdout))
        .stderr(stdio(streams.stderr))
        .process_group(0)
        .spawn()?;
    drop(inherited);
    let outcome = wait_for_answer(&result, worker.id() as i32).and_then(|()| read_outcome(result));
    let group = Pid::from_raw(worker.id() as i32);
    let has_failed = !matches!(outcome, Ok(Ok(_)));
    if has_failed {
        // What it has forked goes on without it, until it is a session of its own, in the container's cgroup.
        let _ = killpg(group, Signal::SIGKILL);
    }
    // Its streams may be the container's: it must be gone before the container's output can end.
    worker.wait()?;
    if has_failed {
        // They are our children, too: when they are reaped, none of them makes anything any more.
        while matches!(waitpid(Pid::from_raw(-group.as_raw()), None), Ok(_) | Err(Errno::EINTR)) {}
    }
    outcome
}

/// A killed worker never answers, while what it has forked may hold the pipe open.
fn wait_for_answer(result: &OwnedFd, worker: i32) -> io::Result<()> {
    let end = cgroup::pidfd(worker);
    let mut ready = vec![PollFd::new(result.as_fd(), PollFlags::POLLIN)];
    ready.extend(end.iter().map(|end| PollFd::new(end.as_fd(), PollFlags::POLLIN)));
    if !matches!(poll(&mut ready, PollTimeout::from(WORKER_WAIT_MS)), Ok(count) if count > 0) {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
    }
    // It may have ended just after its answer.
    match poll(&mut ready[..1], PollTimeout::ZERO) {
        Ok(count) if count > 0 => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended without an answer")),
    }
}

fn read_outcome(result: OwnedFd) -> io::Result<Outcome> {
    let mut result = File::from(result);
    let mut head = [0; 5];
    result.read_exact(&mut head)?;
    let mut body = vec![0; protocol::body_length(head)?];
    result.read_exact(&mut body)?;
    protocol::decode(&body)
}

/// A pipe for a stream: our end does not block, and neither is inherited by accident.
pub(super) fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    set_nonblocking(&read)?;
    Ok((read, write))
}

pub(super) fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(())
}

/// The next child that has ended: pid, exit code (128 + signal when killed), signal.
pub(super) fn reap_one() -> Option<(u32, i32, Option<i32>)> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => return Some((pid.as_raw() as u32, code, None)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => {
                let signal = signal as i32;
                return Some((pid.as_raw() as u32, 128 + signal, Some(signal)));
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return None,
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(_) => return None,
        }
    }
}
