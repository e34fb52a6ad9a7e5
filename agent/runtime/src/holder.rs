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
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Gid, Uid};

use crate::cgroup;
use crate::dispatch;
use crate::layout::SandboxDir;

const NONE: Option<&str> = None;
/// Nobody, as other runtimes run theirs.
const ID: u32 = 65_535;

/// Makes the namespace and the process, which becomes a child of the caller, a subreaper.
pub(crate) fn make(dir: &SandboxDir, cgroup: &str) -> io::Result<()> {
    let mut maker = Command::new("/proc/self/exe");
    maker.arg0("bramble-shim").arg(dispatch::MAKE_HOLDER).arg(&dir.0).arg(cgroup).stdin(Stdio::null());
    let out = maker.output()?;
    if out.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&out.stderr).trim().to_owned();
    Err(io::Error::other(format!("the shared PID namespace was not made: {words}")))
}

/// A short-lived process, since entering and leaving namespaces is for good.
pub(crate) fn maker(dir: &str, cgroup: &str) -> io::Result<()> {
    let dir = SandboxDir(dir.into());
    for (kind, flag) in
        [("net", CloneFlags::CLONE_NEWNET), ("ipc", CloneFlags::CLONE_NEWIPC), ("uts", CloneFlags::CLONE_NEWUTS)]
    {
        if let Ok(namespace) = File::open(dir.namespace(kind)) {
            setns(namespace, flag)?;
        }
    }
    unshare(CloneFlags::CLONE_NEWPID)?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("/pause").arg(dispatch::HOLD).arg(&dir.0).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut holder = command.stderr(Stdio::inherit()).spawn()?;
    let ready = keep(&dir, cgroup, &mut holder);
    if ready.is_err() {
        let _ = holder.kill();
    }
    ready
}

fn keep(dir: &SandboxDir, cgroup: &str, holder: &mut std::process::Child) -> io::Result<()> {
    cgroup::keep(&format!("{cgroup}/sandbox"), holder.id())?;
    let mut word = [0; 1];
    let mut told = holder.stdout.take().ok_or_else(|| io::Error::other("no pipe"))?;
    told.read_exact(&mut word)?;
    let target = dir.namespace("pid");
    // What an earlier shim's holder held.
    let _ = umount2(&target, MntFlags::MNT_DETACH);
    fs::create_dir_all(dir.0.join("ns"))?;
    File::create(&target)?;
    let source = format!("/proc/{}/ns/pid", holder.id());
    Ok(mount(Some(source.as_str()), &target, NONE, MsFlags::MS_BIND, NONE)?)
}

/// The holder's whole life.
pub(crate) fn hold(dir: &str) -> io::Result<()> {
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    children.thread_block()?;
    lay_down(Path::new(dir))?;
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

/// Gives up everything.
fn lay_down(dir: &Path) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    let root = dir.join("ns");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY;
    mount(Some("pause"), &root, Some("tmpfs"), flags, Some("size=4k"))?;
    nix::unistd::chdir(&root)?;
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
