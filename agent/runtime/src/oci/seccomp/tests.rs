use super::*;

const ARM: u32 = 0x4000_0028;
const AARCH64: u32 = 0xC000_00B7;
const X86_64: u32 = 0xC000_003E;
const I386: u32 = 0x4000_0003;

const ALLOW: u32 = 0x7fff_0000;
const NO_PERMISSION: u32 = 0x0005_0000 | libc::EPERM as u32;
const NO_SUCH_CALL: u32 = 0x0005_0000 | libc::ENOSYS as u32;

const CLONE_NEWUSER: u64 = 0x1000_0000;
/// CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS, PARENT_SETTID, CHILD_CLEARTID: a thread.
const THREAD: u64 = 0x3d_0f00;

/// What the kernel would answer: enough of an interpreter for the instructions that libseccomp writes.
fn decide(program: &Program, arch: u32, call: u32, arguments: [u64; 2]) -> u32 {
    let mut data = Vec::new();
    data.extend(call.to_le_bytes());
    data.extend(arch.to_le_bytes());
    data.extend(0_u64.to_le_bytes());
    for argument in arguments {
        data.extend(argument.to_le_bytes());
    }
    data.resize(64, 0);
    let word = |at: usize| u32::from_le_bytes(data[at..at + 4].try_into().unwrap());
    let code: Vec<&[u8]> = program.0.chunks_exact(8).collect();
    let (mut accumulator, mut at) = (0, 0);
    loop {
        let instruction = code[at];
        let operation = u16::from_ne_bytes([instruction[0], instruction[1]]);
        let constant = u32::from_ne_bytes(instruction[4..].try_into().unwrap());
        let jump = |taken: bool| usize::from(instruction[if taken { 2 } else { 3 }]);
        at += 1;
        match operation {
            0x20 => accumulator = word(constant as usize),
            0x54 => accumulator &= constant,
            0x05 => at += constant as usize,
            0x15 => at += jump(accumulator == constant),
            0x25 => at += jump(accumulator > constant),
            0x35 => at += jump(accumulator >= constant),
            0x45 => at += jump(accumulator & constant != 0),
            0x06 => return constant,
            other => panic!("instruction {other:#x}"),
        }
    }
}

/// Checks an architecture's calls by their numbers there: those that must be open, and the four that are special.
fn check(program: &Program, arch: u32, open: &[(&str, u32)], socket: u32, clone: u32, refused: &[(&str, u32)]) {
    for (name, number) in open {
        assert_eq!(decide(program, arch, *number, [0; 2]), ALLOW, "{name} on {arch:#x}");
    }
    for (name, number) in refused {
        assert_eq!(decide(program, arch, *number, [0; 2]), NO_PERMISSION, "{name} on {arch:#x}");
    }
    let with = |call, first: u64| decide(program, arch, call, [first, 0]);
    assert_eq!(with(socket, libc::AF_INET as u64), ALLOW);
    assert_eq!(with(socket, libc::AF_VSOCK as u64), NO_PERMISSION);
    assert_eq!(with(clone, THREAD), ALLOW);
    assert_eq!(with(clone, CLONE_NEWUSER | libc::SIGCHLD as u64), NO_PERMISSION);
    // It has the same number everywhere.
    assert_eq!(with(435, 0), NO_SUCH_CALL);
}

#[test]
fn a_32_bit_arm_program_makes_the_calls_of_its_own_c_library_and_no_others() {
    let open = [
        ("set_tls", 0xf0005),
        ("cacheflush", 0xf0002),
        ("ugetrlimit", 191),
        ("mmap2", 192),
        ("_llseek", 140),
        ("fcntl64", 221),
        ("arm_fadvise64_64", 270),
        ("fstatat64", 327),
        ("sync_file_range2", 341),
        ("statx", 397),
        ("clock_gettime64", 403),
        ("clock_nanosleep_time64", 407),
        ("ppoll_time64", 414),
        ("recvmmsg_time64", 417),
        ("futex_time64", 422),
        ("vfork", 190),
        ("sigreturn", 119),
        ("rt_sigreturn", 173),
        ("send", 289),
        ("getuid32", 199),
    ];
    let refused = [("mount", 21), ("unshare", 337), ("setns", 375), ("reboot", 88), ("bpf", 386), ("kexec_load", 347)];
    for architectures in [&[ScmpArch::Arm][..], &[ScmpArch::Aarch64, ScmpArch::Arm]] {
        let program = Program::of(&[], architectures).unwrap();
        check(&program, ARM, &open, 281, 120, &refused);
    }
}

#[test]
fn a_64_bit_arm_program_has_no_legacy_calls_and_needs_none() {
    let open = [
        ("openat", 56),
        ("newfstatat", 79),
        ("ppoll", 73),
        ("pselect6", 72),
        ("epoll_pwait", 22),
        ("dup3", 24),
        ("pipe2", 59),
        ("renameat2", 276),
        ("faccessat2", 439),
        ("statx", 291),
        ("fadvise64", 223),
        ("getrandom", 278),
        ("rt_sigreturn", 139),
        ("fchmodat2", 452),
    ];
    let refused = [("mount", 40), ("umount2", 39), ("unshare", 97), ("setns", 268), ("reboot", 142), ("bpf", 280)];
    let program = Program::of(&[], &[ScmpArch::Aarch64, ScmpArch::Arm]).unwrap();
    check(&program, AARCH64, &open, 198, 220, &refused);
}

#[test]
fn an_intel_program_of_64_or_32_bits_makes_its_calls() {
    let program = Program::of(&[], &[ScmpArch::X8664, ScmpArch::X86]).unwrap();
    let open = [("arch_prctl", 158), ("open", 2), ("fork", 57), ("statx", 332), ("rt_sigreturn", 15)];
    check(&program, X86_64, &open, 41, 56, &[("mount", 165), ("unshare", 272), ("setns", 308), ("bpf", 321)]);
    let open = [("set_thread_area", 243), ("mmap2", 192), ("futex_time64", 422), ("sigreturn", 119)];
    check(&program, I386, &open, 359, 120, &[("mount", 21), ("unshare", 310), ("bpf", 357)]);
}

#[test]
fn an_architecture_that_is_not_the_machines_makes_no_call() {
    let program = Program::of(&[], &[ScmpArch::Aarch64, ScmpArch::Arm]).unwrap();
    // s390x: none of ours.
    assert_ne!(decide(&program, 0x8000_0016, 1, [0; 2]), ALLOW);
}

#[test]
fn each_set_of_capabilities_has_its_own_program() {
    let plain = Program::runtime_default(&[]).unwrap();
    assert_eq!(plain, Program::runtime_default(&[]).unwrap());
    let mut keys: Vec<Vec<String>> = table::BY_CAPABILITY.iter().map(|(name, _)| vec![(*name).to_owned()]).collect();
    keys.push(table::BY_CAPABILITY.iter().map(|(name, _)| (*name).to_owned()).collect());
    for key in keys {
        assert_ne!(plain, Program::runtime_default(&key).unwrap(), "{key:?}");
    }
}

#[test]
fn what_is_no_program_is_refused() {
    for bytes in [vec![], vec![0; 7], vec![0; 8 * (INSTRUCTIONS_MAX + 1)]] {
        assert!(Program::checked(bytes).is_err());
    }
}

#[test]
fn a_profile_of_the_node_becomes_a_program_and_what_it_does_not_understand_is_refused() {
    let text = |action: &str, more: &str| {
        format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_S390"],
                "syscalls": [{{"names": ["read", "no_such_call"], "action": "{action}", "args": [{{"index": 0, "value": 3, "op": "SCMP_CMP_EQ"}}]}}]{more}}}"#
        )
    };
    let program = Program::of_profile(&text("SCMP_ACT_ALLOW", "")).unwrap();
    if cfg!(target_arch = "x86_64") {
        assert_eq!(decide(&program, X86_64, 0, [3, 0]), ALLOW);
        assert_eq!(decide(&program, X86_64, 0, [4, 0]), NO_SUCH_CALL);
        assert_eq!(decide(&program, X86_64, 1, [3, 0]), NO_SUCH_CALL);
    }
    for (text, words) in [
        (text("SCMP_ACT_NOTIFY", ""), "SCMP_ACT_NOTIFY is not supported"),
        (text("SCMP_ACT_MAYBE", ""), "action SCMP_ACT_MAYBE is not known"),
        (text("SCMP_ACT_ALLOW", r#", "archMap": []"#), "unknown field `archMap`"),
        ("{".to_owned(), "EOF"),
    ] {
        let error = Program::of_profile(&text).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    for name in ["", "/etc/passwd", "../x", "a/../../x"] {
        assert!(
            Program::localhost(Path::new("/nowhere"), name).unwrap_err().to_string().contains("relative"),
            "{name}"
        );
    }
}
