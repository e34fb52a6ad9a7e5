//! Short-lived processes that make a container, or a process in one, as children of the shim.
//!
//! libcontainer forks with a raw clone3 and then allocates, which deadlocks in a process with threads, and leaves
//! things behind when it fails. A process that ends takes them along.
#![allow(unsafe_code)]

mod executor;
mod stage;

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::syscall::syscall::SyscallType;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use crate::cgroup::device;
use crate::layout::{ContainerDir, load, save};
use crate::oci;
use crate::spec::ContainerSpec;
use executor::{Contained, Entry};
pub(crate) use stage::{Stage, place};

/// What a worker tells the shim: the new process's pid, or why there is none.
pub(crate) type Outcome = Result<u32, String>;

/// Where libcontainer hands a terminal over: beside the shim's socket, since a socket's path has to be short.
pub(crate) const TTY_SOCKET: &str = "tty.sock";
/// The process that an exec is to become.
pub(crate) const EXEC_PROCESS: &str = "exec.json";

pub(crate) fn create(dir: &str, result: &str) -> io::Result<()> {
    report(result, || create_in(&ContainerDir(dir.into())))
}

pub(crate) fn exec(dir: &str, result: &str) -> io::Result<()> {
    report(result, || exec_in(&ContainerDir(dir.into())))
}

fn report(result: &str, act: impl FnOnce() -> Result<u32, Box<dyn Error>>) -> io::Result<()> {
    let number: i32 = result.parse().map_err(io::Error::other)?;
    // SAFETY: the shim opened this descriptor for this process and names it on the command line.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // Those of whoever started the agent: the library leaves them where a container asks for none.
    nix::unistd::setgroups(&[])?;
    let outcome: Outcome = act().map_err(|error| chain(error.as_ref()));
    fs::File::from(fd).write_all(&crate::protocol::encode(&outcome)?)
}

/// An error with its causes: libcontainer's outermost words often say nothing.
fn chain(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        next = cause.source();
    }
    words
}

fn builder(dir: &ContainerDir, id: &str, tty: bool) -> Result<ContainerBuilder, Box<dyn Error>> {
    let mut builder =
        ContainerBuilder::new(id.to_owned(), SyscallType::Linux).with_root_path(dir.library_root())?.validate_id()?;
    if tty {
        builder = builder.with_console_socket(Some(tty_socket(dir)));
    }
    Ok(builder)
}

pub(crate) fn tty_socket(dir: &ContainerDir) -> PathBuf {
    let sandbox = dir.0.parent().and_then(Path::parent).expect("a container's folder lies in its sandbox's");
    sandbox.join(TTY_SOCKET)
}

fn create_in(dir: &ContainerDir) -> Result<u32, Box<dyn Error>> {
    let spec: ContainerSpec = load(&dir.spec())?;
    let config = Spec::load(dir.config())?;
    let cgroup = config.linux().as_ref().and_then(|linux| linux.cgroups_path().clone()).unwrap_or_default();
    adjust_oom_score(spec.oom_score_adj.unwrap_or(0));
    fs::create_dir_all(dir.library_root())?;
    if let Some(stage) = staged(dir)? {
        stage.set()?;
    }
    let container = builder(dir, &spec.id, spec.tty)?
        .with_executor(Contained::new(dir, &spec)?)
        .as_init(&dir.0)
        .with_systemd(false)
        .with_detach(true)
        .as_sibling(true)
        .build()?;
    let pid = container.pid().ok_or("libcontainer gave no pid")?;
    // The process waits for its start: the rules are in force before the first instruction of the container.
    if !oci::is_allowed_everything(&spec) {
        let rules = config.linux().as_ref().and_then(|linux| linux.resources().as_ref()?.devices().clone());
        if let Err(error) = device::restrict(&cgroup.to_string_lossy(), &rules.unwrap_or_default()) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.as_raw()), nix::sys::signal::SIGKILL);
            return Err(format!("device rules could not be set: {error}").into());
        }
    }
    Ok(pid.as_raw() as u32)
}

fn exec_in(dir: &ContainerDir) -> Result<u32, Box<dyn Error>> {
    let spec: ContainerSpec = load(&dir.spec())?;
    let process_path = dir.0.join(EXEC_PROCESS);
    let mut process: serde_json::Value = load(&process_path)?;
    adjust_oom_score(spec.oom_score_adj.unwrap_or(0));
    let mut executor = Contained::new(dir, &spec)?;
    if let Some(stage) = staged(dir)? {
        stage.set_root()?;
        // The library enters every namespace but the user's: as the host's root, which only the last step leaves.
        let user = std::mem::replace(&mut process["user"], serde_json::json!({ "uid": 0, "gid": 0 }));
        let users = fs::File::open(&stage.users)?.into();
        let user = serde_json::from_value(user)?;
        executor = executor.entering(Entry { users, first_id: stage.first_id, user });
        save(&process_path, &process)?;
    }
    let result = builder(dir, &spec.id, process["terminal"] == true)?
        .with_executor(executor)
        .as_tenant()
        .with_process(Some(&process_path))
        .with_detach(true)
        .as_sibling(true)
        .build();
    // Each exec leaves its notify socket, and the link to the terminal's.
    for entry in fs::read_dir(dir.library_root().join(&spec.id)).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("tenant-") {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(result?.as_raw() as u32)
}

/// Where the mounts of a container in a user namespace wait.
fn staged(dir: &ContainerDir) -> io::Result<Option<Stage>> {
    match load(&dir.stage()) {
        Ok(stage) => Ok(Some(stage)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Inherited by the container. Lowering it needs a capability that not every machine gives: then it stays as it is.
fn adjust_oom_score(score: i32) {
    let _ = fs::write("/proc/self/oom_score_adj", score.to_string());
}
