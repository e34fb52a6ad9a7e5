//! Device rules. On v1 the library writes them, but lets tun through; on v2 it ignores them silently, and a program
//! of ours decides.
#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use libcontainer::oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

const BLOCK: u32 = 1;
const CHAR: u32 = 2;
const MKNOD: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;
const ALL: u32 = MKNOD | READ | WRITE;

/// linux/bpf.h
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// A rule of the program; the last one that matches decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    allow: bool,
    kind: Option<u32>,
    major: Option<u32>,
    minor: Option<u32>,
    access: u32,
}

/// Puts the rules of a container in force on its cgroup.
pub(crate) fn restrict(cgroup: &str, rules: &[LinuxDeviceCgroup]) -> io::Result<()> {
    let path = cgroup.trim_start_matches('/');
    if super::is_unified() {
        let folder = fs::File::open(Path::new(super::ROOT).join(path))?;
        let program = load(&assemble(&program_rules(rules)))?;
        return attach(&folder, &program);
    }
    for folder in super::folders(path) {
        let deny = folder.join("devices.deny");
        if deny.exists() {
            fs::write(deny, "c 10:200 rwm")?;
        }
    }
    Ok(())
}

fn program_rules(rules: &[LinuxDeviceCgroup]) -> Vec<Rule> {
    let mut out: Vec<Rule> = rules.iter().map(translate).collect();
    let allow = |kind, major, minor, access| Rule { allow: true, kind: Some(kind), major, minor, access };
    out.push(allow(CHAR, None, None, MKNOD));
    out.push(allow(BLOCK, None, None, MKNOD));
    // null, zero, full, random, urandom; tty, console, ptmx; terminals.
    for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)] {
        out.push(allow(CHAR, Some(major), Some(minor), ALL));
    }
    out.push(allow(CHAR, Some(136), None, ALL));
    out
}

fn translate(rule: &LinuxDeviceCgroup) -> Rule {
    let kind = match rule.typ() {
        Some(LinuxDeviceType::B) => Some(BLOCK),
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => Some(CHAR),
        _ => None,
    };
    let number = |value: Option<i64>| value.filter(|value| *value >= 0).map(|value| value as u32);
    let letters = rule.access().clone().unwrap_or_else(|| "rwm".into());
    let access = letters.chars().fold(0, |access, letter| {
        access
            | match letter {
                'r' => READ,
                'w' => WRITE,
                'm' => MKNOD,
                _ => 0,
            }
    });
    Rule { allow: rule.allow(), kind, major: number(rule.major()), minor: number(rule.minor()), access }
}

/// One instruction: opcode, registers (source in the high half), offset, constant.
fn instruction(code: u8, dst: u8, src: u8, offset: i16, value: i32) -> u64 {
    let mut bytes = [0; 8];
    bytes[0] = code;
    bytes[1] = dst | src << 4;
    bytes[2..4].copy_from_slice(&offset.to_ne_bytes());
    bytes[4..].copy_from_slice(&value.to_ne_bytes());
    u64::from_ne_bytes(bytes)
}

/// The context is `access << 16 | type`, major, minor, each of 32 bits.
fn assemble(rules: &[Rule]) -> Vec<u64> {
    const LOAD_WORD: u8 = 0x61;
    const AND: u8 = 0x57;
    const SHIFT_RIGHT: u8 = 0x77;
    const MOVE: u8 = 0xb7;
    const MOVE_REGISTER: u8 = 0xbf;
    const JUMP_UNEQUAL: u8 = 0x55;
    const JUMP_UNEQUAL_REGISTER: u8 = 0x5d;
    const EXIT: u8 = 0x95;
    let mut code = vec![
        instruction(LOAD_WORD, 2, 1, 0, 0),
        instruction(MOVE_REGISTER, 3, 2, 0, 0),
        instruction(AND, 2, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, 3, 0, 0, 16),
        instruction(LOAD_WORD, 4, 1, 4, 0),
        instruction(LOAD_WORD, 5, 1, 8, 0),
    ];
    for rule in rules.iter().rev() {
        // Each test jumps over what is left of the rule; the distances follow from the end.
        let mut tests = Vec::new();
        if let Some(kind) = rule.kind {
            tests.push((JUMP_UNEQUAL, 2, 0, kind as i32));
        }
        for (register, value) in [(4, rule.major), (5, rule.minor)] {
            if let Some(value) = value {
                tests.push((JUMP_UNEQUAL, register, 0, value as i32));
            }
        }
        let masked = rule.access != ALL;
        let decides_all = tests.is_empty() && !masked;
        let mut left = tests.len() as i16 + if masked { 3 } else { 0 } + 2;
        for (op, dst, src, value) in tests {
            left -= 1;
            code.push(instruction(op, dst, src, left, value));
        }
        if masked {
            code.push(instruction(MOVE_REGISTER, 1, 3, 0, 0));
            code.push(instruction(AND, 1, 0, 0, rule.access as i32));
            code.push(instruction(JUMP_UNEQUAL_REGISTER, 1, 3, 2, 0));
        }
        code.push(instruction(MOVE, 0, 0, 0, i32::from(rule.allow)));
        code.push(instruction(EXIT, 0, 0, 0, 0));
        if decides_all {
            // The kernel refuses a program with instructions that nothing reaches.
            return code;
        }
    }
    code.push(instruction(MOVE, 0, 0, 0, 0));
    code.push(instruction(EXIT, 0, 0, 0, 0));
    code
}

#[repr(C)]
struct LoadAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    expected_attach_type: u32,
}

#[repr(C)]
struct AttachAttributes {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
}

fn load(code: &[u64]) -> io::Result<OwnedFd> {
    let attributes = LoadAttributes {
        program_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        instruction_count: code.len() as u32,
        instructions: code.as_ptr() as usize as u64,
        license: c"Apache-2.0".as_ptr() as usize as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
        kernel_version: 0,
        flags: 0,
        name: *b"bramble_device\0\0",
        interface: 0,
        expected_attach_type: BPF_CGROUP_DEVICE,
    };
    // SAFETY: the attributes and the code that they point to live until the call returns; the kernel only reads.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attributes, size_of::<LoadAttributes>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn attach(folder: &fs::File, program: &OwnedFd) -> io::Result<()> {
    let attributes = AttachAttributes {
        target: folder.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: the attributes live until the call returns; the kernel only reads them.
    let done =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw const attributes, size_of::<AttachAttributes>()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would do: enough of an interpreter for the instructions used.
    fn decide(code: &[u64], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0_u64; 11];
        let mut at = 0;
        loop {
            let bytes = code[at].to_ne_bytes();
            let (dst, src) = ((bytes[1] & 15) as usize, (bytes[1] >> 4) as usize);
            let offset = i16::from_ne_bytes([bytes[2], bytes[3]]);
            let value = i32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
            at += 1;
            match bytes[0] {
                0x61 => registers[dst] = u64::from(context[offset as usize / 4]),
                0x57 => registers[dst] &= value as u64,
                0x77 => registers[dst] >>= value,
                0xb7 => registers[dst] = value as u64,
                0xbf => registers[dst] = registers[src],
                0x55 if registers[dst] != value as u64 => at += offset as usize,
                0x5d if registers[dst] != registers[src] => at += offset as usize,
                0x95 => return registers[0] != 0,
                _ => {}
            }
        }
    }

    #[test]
    fn default_rules_allow_null_and_refuse_disks_and_kernel_log() {
        let all = Rule { allow: false, kind: None, major: None, minor: None, access: ALL };
        let mut rules = program_rules(&[]);
        rules.insert(0, all);
        let code = assemble(&rules);
        assert!(decide(&code, CHAR, READ | WRITE, 1, 3));
        assert!(decide(&code, BLOCK, MKNOD, 8, 0));
        assert!(!decide(&code, BLOCK, READ, 8, 0));
        assert!(!decide(&code, CHAR, WRITE, 1, 11));
        assert!(!decide(&code, CHAR, READ | WRITE, 10, 200));
        assert!(!decide(&code, CHAR, MKNOD | READ, 1, 11));
        rules.insert(0, all);
        assert_eq!(code, assemble(&rules), "nothing follows the rule that decides all");
    }
}
