//! The RuntimeDefault seccomp profile: what is not in the table fails with EPERM.

mod table;

use serde_json::{Value, json};

/// CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID and NET: new namespaces are not for the unprivileged.
const CLONE_NAMESPACES: u64 = 0x7E02_0000;
const ENOSYS: u32 = 38;

pub(super) fn runtime_default(capabilities: &[String]) -> Value {
    let has = |name: &str| capabilities.iter().any(|held| held == name);
    let mut rules = vec![allow(table::ALWAYS)];
    for value in table::PERSONALITIES {
        rules.push(allow_if(&["personality"], json!({ "index": 0, "value": value, "op": "SCMP_CMP_EQ" })));
    }
    // VSOCK reaches the hypervisor.
    rules.push(allow_if(&["socket"], json!({ "index": 0, "value": 40, "op": "SCMP_CMP_NE" })));
    for (capability, syscalls) in table::BY_CAPABILITY {
        if has(capability) {
            rules.push(allow(syscalls));
        }
    }
    if !has("CAP_SYS_ADMIN") {
        let plain = json!({ "index": 0, "value": CLONE_NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" });
        rules.push(allow_if(&["clone"], plain));
        // Its flags lie in memory, out of a filter's reach: "no such call" makes the C library fall back to clone.
        rules.push(json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS }));
    }
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": architectures(),
        "syscalls": rules,
    })
}

fn allow(names: &[&str]) -> Value {
    json!({ "names": names, "action": "SCMP_ACT_ALLOW" })
}

fn allow_if(names: &[&str], condition: Value) -> Value {
    json!({ "names": names, "action": "SCMP_ACT_ALLOW", "args": [condition] })
}

/// The machine's own architecture and its 32-bit companion, whose programs run too. Each costs milliseconds of a
/// container's start; x32, which nobody uses, is left out, and its calls are refused.
fn architectures() -> &'static [&'static str] {
    if cfg!(target_arch = "x86_64") {
        &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    } else if cfg!(target_arch = "aarch64") {
        &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    } else {
        &["SCMP_ARCH_ARM"]
    }
}
