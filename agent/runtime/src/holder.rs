//! The first process of a PID namespace that a pod's containers share: it holds the namespace, and reaps in it.
//!
//! Containers see this process, so that it has nothing that they might want: an empty read-only root, the pod's own
//! namespaces, no capabilities, nobody's user, and it cannot be traced.
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Gid, Pid, Uid};

use crate::cgroup;
use crate::dispatch;
use crate::layout::SandboxDir;
use crate::namespaces::become_root;
use crate::worker;

const NONE: Option<&str> = None;
/// Nobody, as other runtimes run theirs.
const ID: u32 = 65_535;

/// Makes the namespace and the process, which becomes a child of the caller, a subreaper.
pub(crate) fn make(dir: &SandboxDir, cgroup: &str) -> io::Result<()> {
    let mut maker = Command::new("/proc/self/exe");
    maker.arg0("bramble-shim").arg(dispatch::MAKE_HOLDER).arg(&dir.0).stdin(Stdio::null());
    let out = maker.output()?;
    let words = String::from_utf8_lossy(&out.stdout);
    let holder = words.trim().parse().ok().filter(|_| out.status.success()).ok_or_else(|| {
        let words = String::from_utf8_lossy(&out.stderr).trim().to_owned();
        io::Error::other(format!("the shared PID namespace was not made: {words}"))
    })?;
    let kept = keep(dir, cgroup, holder);
    if kept.is_err() {
        let _ = kill(Pid::from_raw(holder as i32), Signal::SIGKILL);
    }
    kept
}

fn keep(dir: &SandboxDir, cgroup: &str, holder: u32) -> io::Result<()> {
    cgroup::keep(&format!("{cgroup}/sandbox"), holder)?;
    let target = dir.namespace("pid");
    // What an earlier shim's holder held.
    let _ = umount2(&target, MntFlags::MNT_DETACH);
    fs::create_dir_all(dir.0.join("ns"))?;
    File::create(&target)?;
    let source = format!("/proc/{holder}/ns/pid");
    Ok(mount(Some(source.as_str()), &target, NONE, MsFlags::MS_BIND, NONE)?)
}

/// A short-lived process, since entering and leaving namespaces is for good. Says the holder's pid.
pub(crate) fn maker(dir: &str) -> io::Result<()> {
    let dir = SandboxDir(dir.into());
    let others =
        [("net", CloneFlags::CLONE_NEWNET), ("ipc", CloneFlags::CLONE_NEWIPC), ("uts", CloneFlags::CLONE_NEWUTS)]
            .map(|(kind, flag)| (File::open(dir.namespace(kind)).ok(), flag));
    let place = worker::place(&dir.0);
    let mut root = dir.0.join("ns");
    if let Ok(users) = File::open(dir.namespace("user")) {
        // What is made from here on is the user namespace's, whose root may not walk to the pod's folder.
        become_root(users)?;
        root = place;
    }
    for (namespace, flag) in others {
        if let Some(namespace) = namespace {
            setns(namespace, flag)?;
        }
    }
    unshare(CloneFlags::CLONE_NEWPID)?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("/pause").arg(dispatch::HOLD).arg(&root).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut holder = command.stderr(Stdio::inherit()).spawn()?;
    let mut word = [0; 1];
    let mut told = holder.stdout.take().ok_or_else(|| io::Error::other("no pipe"))?;
    if let Err(error) = told.read_exact(&mut word) {
        let _ = holder.kill();
        return Err(error);
    }
    println!("{}", holder.id());
    Ok(())
}

/// The holder's whole life.
pub(crate) fn hold(root: &str) -> io::Result<()> {
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    children.thread_block()?;
    lay_down(Path::new(root))?;
    io::stdout().write_all(b"1")?;
    io::stdout().flush()?;
    // Who made this process reads both to their ends.
    nix::unistd::close(1)?;
    nix::unistd::close(2)?;
    loop {
        children.wait()?;
        while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status != WaitStatus::StillAlive) {}
    }
}

/// Gives up everything. The root is mounted over a folder that is not looked at.
fn lay_down(root: &Path) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY;
    mount(Some("pause"), root, Some("tmpfs"), flags, Some("size=4k"))?;
    nix::unistd::chdir(root)?;
    nix::unistd::pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    nix::unistd::chdir("/")?;
    nix::unistd::setgroups(&[])?;
    nix::unistd::setresgid(Gid::from_raw(ID), Gid::from_raw(ID), Gid::from_raw(ID))?;
    // With the last id of root's the capabilities go.
    nix::unistd::setresuid(Uid::from_raw(ID), Uid::from_raw(ID), Uid::from_raw(ID))?;
    // SAFETY: prctl with constants and a terminated name changes only this process.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
        libc::prctl(libc::PR_SET_NAME, c"pause".as_ptr());
    }
    Ok(())
}
