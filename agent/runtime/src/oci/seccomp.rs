//! Seccomp: the RuntimeDefault profile, in which what is not in the table fails with EPERM, and profiles of the node's.
//!
//! Compiling it takes longer than all else of a container's start, so that the agent does it once for each set of
//! capabilities, and a bundle holds the finished program. What has no program and needs one does not start.
#![allow(unsafe_code)]

mod profile;
mod table;

use std::fs;
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::path::Path;

use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::spec::{ContainerSpec, Seccomp};

/// CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID and NET: new namespaces are not for the unprivileged.
const CLONE_NAMESPACES: u64 = 0x7E02_0000;
/// linux/filter.h: a program's instructions at most.
const INSTRUCTIONS_MAX: usize = 4096;

/// A program for the kernel: its instructions as the kernel reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program(Vec<u8>);

/// True where a container must not run without a filter.
pub(crate) fn is_filtered(spec: &ContainerSpec) -> bool {
    spec.seccomp != Seccomp::Unconfined && !spec.privileged
}

/// What decides over the program: the capabilities held.
pub(crate) fn key(spec: &ContainerSpec) -> Vec<String> {
    let held = super::capabilities::of(spec);
    // Most capabilities open nothing.
    let mut key: Vec<String> = table::BY_CAPABILITY.iter().map(|(name, _)| (*name).to_owned()).collect();
    key.retain(|name| held.contains(name));
    key
}

impl Program {
    pub fn runtime_default(key: &[String]) -> io::Result<Self> {
        Self::of(key, architectures())
    }

    fn of(key: &[String], architectures: &[ScmpArch]) -> io::Result<Self> {
        let words = |error: SeccompError| io::Error::other(format!("seccomp filter: {error}"));
        Self::export(&filter(key, architectures).map_err(words)?)
    }

    /// The profile `name` below `folder`.
    pub fn localhost(folder: &Path, name: &str) -> io::Result<Self> {
        Self::of_profile(&profile::read(folder, name)?)
    }

    pub(crate) fn of_profile(text: &str) -> io::Result<Self> {
        Self::export(&profile::filter(text, architectures())?)
    }

    fn export(filter: &ScmpFilterContext) -> io::Result<Self> {
        let words = |error: SeccompError| io::Error::other(format!("seccomp filter: {error}"));
        let file = memfd_create("seccomp", MFdFlags::MFD_CLOEXEC)?;
        filter.export_bpf(file.as_fd()).map_err(words)?;
        let mut file = fs::File::from(file);
        file.rewind()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Self::checked(bytes)
    }

    pub fn load(path: &Path) -> io::Result<Self> {
        Self::checked(fs::read(path)?)
    }

    pub fn save(&self, path: &Path) -> io::Result<()> {
        fs::write(path, &self.0)
    }

    fn checked(bytes: Vec<u8>) -> io::Result<Self> {
        let instructions = bytes.len() / size_of::<libc::sock_filter>();
        if !bytes.len().is_multiple_of(size_of::<libc::sock_filter>())
            || !(1..=INSTRUCTIONS_MAX).contains(&instructions)
        {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no seccomp program"));
        }
        Ok(Self(bytes))
    }

    /// Puts it in force on the calling thread, which needs CAP_SYS_ADMIN or no_new_privs, for good.
    pub fn enforce(&self) -> io::Result<()> {
        let instructions: Vec<libc::sock_filter> = self
            .0
            .chunks_exact(size_of::<libc::sock_filter>())
            .map(|bytes| libc::sock_filter {
                code: u16::from_ne_bytes([bytes[0], bytes[1]]),
                jt: bytes[2],
                jf: bytes[3],
                k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
            })
            .collect();
        let program = libc::sock_fprog { len: instructions.len() as u16, filter: instructions.as_ptr().cast_mut() };
        // SAFETY: the kernel reads the program, which lives until the call returns, and writes nothing.
        let done = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

fn filter(capabilities: &[String], architectures: &[ScmpArch]) -> Result<ScmpFilterContext, SeccompError> {
    let has = |name: &str| capabilities.iter().any(|held| held == name);
    let mut filter = ScmpFilterContext::new(ScmpAction::Errno(libc::EPERM))?;
    for arch in architectures {
        filter.add_arch(*arch)?;
    }
    allow(&mut filter, table::ALWAYS)?;
    for value in table::PERSONALITIES {
        allow_if(&mut filter, "personality", ScmpArgCompare::new(0, ScmpCompareOp::Equal, value))?;
    }
    // VSOCK reaches the hypervisor.
    allow_if(&mut filter, "socket", ScmpArgCompare::new(0, ScmpCompareOp::NotEqual, libc::AF_VSOCK as u64))?;
    for (capability, syscalls) in table::BY_CAPABILITY {
        if has(capability) {
            allow(&mut filter, syscalls)?;
        }
    }
    if !has("CAP_SYS_ADMIN") {
        let plain = ScmpArgCompare::new(0, ScmpCompareOp::MaskedEqual(CLONE_NAMESPACES), 0);
        allow_if(&mut filter, "clone", plain)?;
        // Its flags lie in memory, out of a filter's reach: "no such call" makes the C library fall back to clone.
        if let Ok(clone3) = ScmpSyscall::from_name("clone3") {
            filter.add_rule(ScmpAction::Errno(libc::ENOSYS), clone3)?;
        }
    }
    Ok(filter)
}

/// A name that this library does not know is newer than it, and stays refused.
fn allow(filter: &mut ScmpFilterContext, names: &[&str]) -> Result<(), SeccompError> {
    for syscall in names.iter().filter_map(|name| ScmpSyscall::from_name(name).ok()) {
        filter.add_rule(ScmpAction::Allow, syscall)?;
    }
    Ok(())
}

fn allow_if(filter: &mut ScmpFilterContext, name: &str, condition: ScmpArgCompare) -> Result<(), SeccompError> {
    let syscall = ScmpSyscall::from_name(name)?;
    filter.add_rule_conditional(ScmpAction::Allow, syscall, &[condition])?;
    Ok(())
}

/// The machine's own architecture and its 32-bit companion, whose programs run too. x32, which nobody uses, is left
/// out, and its calls are refused.
fn architectures() -> &'static [ScmpArch] {
    if cfg!(target_arch = "x86_64") {
        &[ScmpArch::X8664, ScmpArch::X86]
    } else if cfg!(target_arch = "aarch64") {
        &[ScmpArch::Aarch64, ScmpArch::Arm]
    } else {
        &[ScmpArch::Arm]
    }
}

#[cfg(test)]
mod tests;
