//! A user namespace, and the pod's others as its property.
//!
//! Who makes a user namespace is in it for good and can do nothing outside any more, so that a second process does,
//! and the helper, which is still the host's root, maps its ids and keeps what it has made.
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter, Read, Write, pipe};

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Gid, Pid, Uid, fork};

use super::{Order, flag, flags, keep, name, set};
use crate::users::{FIRST, mapping};

pub(super) fn make(order: &Order, first_id: u32) -> io::Result<()> {
    let (ours, told) = pipe()?;
    let (heard, theirs) = pipe()?;
    // SAFETY: the helper has one thread.
    match unsafe { fork() }? {
        ForkResult::Child => {
            drop((ours, theirs));
            let made = maker(order, told, heard);
            std::process::exit(i32::from(made.is_err()));
        }
        ForkResult::Parent { child } => {
            drop((told, heard));
            let kept = keeper(order, first_id, child, ours, theirs);
            let ended = waitpid(child, None);
            kept?;
            ended?;
            enter(order)
        }
    }
}

/// A user namespace that nobody is in, for as long as its file is open.
pub(crate) fn lone_users() -> io::Result<File> {
    let (mut ours, mut told) = pipe()?;
    let (mut heard, theirs) = pipe()?;
    // SAFETY: as above, only a process with one thread tries this.
    match unsafe { fork() }? {
        ForkResult::Child => {
            drop((ours, theirs));
            let made = unshare(CloneFlags::CLONE_NEWUSER).map_err(io::Error::from);
            let stayed = made.and_then(|()| told.write_all(b"u")).and_then(|()| heard.read_to_end(&mut Vec::new()));
            std::process::exit(i32::from(stayed.is_err()));
        }
        ForkResult::Parent { child } => {
            drop((told, heard));
            let ended = |_| io::Error::other("the kernel gives no user namespace");
            let mapped = ours.read_exact(&mut [0; 1]).map_err(ended).and_then(|()| map(child, FIRST));
            let users = mapped.and_then(|()| File::open(format!("/proc/{child}/ns/user")));
            drop(theirs);
            waitpid(child, None)?;
            users
        }
    }
}

fn map(process: Pid, first_id: u32) -> io::Result<()> {
    ["uid_map", "gid_map"].iter().try_for_each(|map| fs::write(format!("/proc/{process}/{map}"), mapping(first_id)))
}

/// Says when it has made the user namespace, and when the others, and stays until they are kept.
fn maker(order: &Order, mut told: PipeWriter, mut heard: PipeReader) -> io::Result<()> {
    let mut word = [0; 1];
    unshare(CloneFlags::CLONE_NEWUSER)?;
    told.write_all(b"u")?;
    heard.read_exact(&mut word)?;
    unshare(flags(order))?;
    told.write_all(b"n")?;
    heard.read_to_end(&mut Vec::new()).map(drop)
}

fn keeper(order: &Order, first_id: u32, maker: Pid, mut told: PipeReader, mut heard: PipeWriter) -> io::Result<()> {
    let mut word = [0; 1];
    let ended = |what: &'static str| move |_| io::Error::other(format!("the kernel gives no {what}"));
    told.read_exact(&mut word).map_err(ended("user namespace"))?;
    map(maker, first_id)?;
    heard.write_all(b"m")?;
    told.read_exact(&mut word).map_err(ended("namespaces in a user namespace"))?;
    order.kinds.iter().try_for_each(|kind| keep(order, kind, &maker.to_string()))
}

/// The namespaces' own settings. Which of the two roots may write a sysctl differs by sysctl and kernel.
fn enter(order: &Order) -> io::Result<()> {
    for kind in order.kinds.iter().filter(|kind| *kind != "user") {
        setns(File::open(order.dir.join(kind))?, flag(kind))?;
    }
    name(order)?;
    let refused: Vec<_> = order.sysctls.iter().filter(|one| set([*one]).is_err()).collect();
    if refused.is_empty() {
        return Ok(());
    }
    become_root(File::open(order.dir.join("user"))?)?;
    set(refused)
}

/// Enters a user namespace as its root.
pub(crate) fn become_root(users: File) -> io::Result<()> {
    nix::unistd::setgroups(&[])?;
    setns(users, CloneFlags::CLONE_NEWUSER)?;
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    nix::unistd::setresgid(gid, gid, gid)?;
    Ok(nix::unistd::setresuid(uid, uid, uid)?)
}
