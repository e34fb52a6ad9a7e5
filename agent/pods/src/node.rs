//! The Node object as this machine tells it: capacity, addresses, conditions, images.

use std::fs;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::pressure::{Pressure, Room};

/// The level of the Kubernetes API that this agent serves, and our own version.
pub const KUBELET_VERSION: &str = "v1.35.0+bramble";
pub const RUNTIME_VERSION: &str = concat!("bramble://", env!("CARGO_PKG_VERSION"));
/// As Kubernetes has it, and the most images that a Node lists.
const PODS_MAX: u32 = 110;
const IMAGES_MAX: usize = 50;
/// What is kept from pods for the system and the agent itself.
const MEMORY_RESERVED_BYTES: u64 = 100 << 20;

/// What was measured of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    pub name: String,
    pub addresses: Vec<String>,
    pub cpus: usize,
    pub memory_bytes: u64,
    pub storage_bytes: u64,
    pub kernel_version: String,
    pub os_image: String,
    pub machine_id: String,
    pub boot_id: String,
    /// In Go's words: `amd64`, `arm64`, `arm`.
    pub architecture: String,
    /// Whether any pod can have users of its own, whatever its volumes are.
    pub user_namespaces: bool,
}

/// One line of `status.images`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeImage {
    pub names: Vec<String>,
    pub size_bytes: u64,
}

fn trimmed(path: &str) -> String {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// The value of a `/proc/meminfo` line, in bytes.
fn meminfo(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Memory that pods may still take.
pub fn memory_room() -> Room {
    Room { free: meminfo("MemAvailable"), whole: meminfo("MemTotal") }
}

/// Numbers that processes and threads may still have.
pub fn pid_room() -> Option<Room> {
    let number = |path| trimmed(path).parse::<u64>().ok();
    let whole = number("/proc/sys/kernel/pid_max")?.min(number("/proc/sys/kernel/threads-max")?);
    // As in `0.20 0.18 0.12 1/80 11206`: running, and all.
    let used: u64 = trimmed("/proc/loadavg").split(['/', ' ']).nth(4)?.parse().ok()?;
    Some(Room { free: whole.saturating_sub(used), whole })
}

impl Machine {
    /// Reads what /proc and /etc tell; the caller knows name, addresses, storage and what containers can have.
    pub fn read(name: String, addresses: Vec<String>, storage_bytes: u64) -> Self {
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            other => other,
        };
        Self {
            name,
            addresses,
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: meminfo("MemTotal"),
            storage_bytes,
            kernel_version: trimmed("/proc/sys/kernel/osrelease"),
            os_image: pretty.unwrap_or("Linux").trim_matches('"').to_owned(),
            machine_id: trimmed("/etc/machine-id"),
            boot_id: trimmed("/proc/sys/kernel/random/boot_id"),
            architecture: architecture.to_owned(),
            user_namespaces: false,
        }
    }

    /// Bytes of memory that pods may ask for.
    pub fn allocatable_memory_bytes(&self) -> u64 {
        self.memory_bytes.saturating_sub(MEMORY_RESERVED_BYTES.min(self.memory_bytes / 10))
    }

    /// The whole object, for a node that introduces itself.
    pub fn node(&self, status: &Value) -> Value {
        let labels = json!({
            "kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": self.architecture,
            "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": self.architecture,
        });
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.name, "labels": labels}, "status": status})
    }

    /// The status at `now`; transition times of unchanged conditions come from `previous`.
    pub fn status(&self, images: &[NodeImage], pressure: Pressure, previous: Option<&Value>, now: Timestamp) -> Value {
        let amounts = |memory: u64| {
            json!({
                "cpu": self.cpus.to_string(), "memory": format!("{}Ki", memory / 1024),
                "ephemeral-storage": format!("{}Ki", self.storage_bytes / 1024), "pods": PODS_MAX.to_string(),
            })
        };
        let mut addresses: Vec<Value> =
            self.addresses.iter().map(|ip| json!({"type": "InternalIP", "address": ip})).collect();
        addresses.push(json!({"type": "Hostname", "address": self.name}));
        let mut largest: Vec<&NodeImage> = images.iter().collect();
        largest.sort_by_key(|image| std::cmp::Reverse(image.size_bytes));
        let listed = largest.iter().take(IMAGES_MAX);
        let listed: Vec<Value> =
            listed.map(|image| json!({"names": image.names, "sizeBytes": image.size_bytes})).collect();
        json!({
            "capacity": amounts(self.memory_bytes),
            "allocatable": amounts(self.allocatable_memory_bytes()),
            "addresses": addresses,
            "conditions": conditions(pressure, previous, now),
            "nodeInfo": {
                "machineID": self.machine_id, "systemUUID": self.machine_id, "bootID": self.boot_id,
                "kernelVersion": self.kernel_version, "osImage": self.os_image,
                "containerRuntimeVersion": RUNTIME_VERSION, "kubeletVersion": KUBELET_VERSION,
                "kubeProxyVersion": "", "operatingSystem": "linux", "architecture": self.architecture,
            },
            "images": listed,
            "features": {"supplementalGroupsPolicy": true},
            // The one handler there is has no name.
            "runtimeHandlers": [{"features": {
                "recursiveReadOnlyMounts": true, "userNamespaces": self.user_namespaces,
            }}],
        })
    }
}

/// Reason and message, without pressure and with it.
const MEMORY: [(&str, &str); 2] = [
    ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
];
const DISK: [(&str, &str); 2] = [
    ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("KubeletHasDiskPressure", "kubelet has disk pressure"),
];
const PIDS: [(&str, &str); 2] = [
    ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
];

fn conditions(pressure: Pressure, previous: Option<&Value>, now: Timestamp) -> Vec<Value> {
    let second = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let (memory, disk, pids) = (pressure.memory, pressure.disk, pressure.pids);
    let list = [
        ("MemoryPressure", memory, MEMORY[usize::from(memory)]),
        ("DiskPressure", disk, DISK[usize::from(disk)]),
        ("PIDPressure", pids, PIDS[usize::from(pids)]),
        ("Ready", true, ("KubeletReady", "kubelet is posting ready status")),
    ];
    let old = previous.and_then(|status| status["conditions"].as_array());
    let condition = |(type_, holds, (reason, message)): (&str, bool, (&str, &str))| {
        let status = if holds { "True" } else { "False" };
        let same = old.into_iter().flatten().find(|one| one["type"] == type_ && one["status"] == status);
        let since = same.and_then(|one| one["lastTransitionTime"].as_str()).unwrap_or(&second).to_owned();
        let heard = same.and_then(|one| one["lastHeartbeatTime"].as_str()).unwrap_or(&second).to_owned();
        json!({
            "type": type_, "status": status, "lastHeartbeatTime": heard, "lastTransitionTime": since,
            "reason": reason, "message": message,
        })
    };
    list.into_iter().map(condition).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unchanged_machine_tells_an_unchanged_status() {
        let machine = Machine::read("pi".to_owned(), vec!["192.168.1.7".to_owned()], 8 << 30);
        let first = machine.status(&[], Pressure::default(), None, Timestamp::UNIX_EPOCH);
        let later = Timestamp::from_second(500).unwrap();
        assert_eq!(machine.status(&[], Pressure::default(), Some(&first), later), first);
        let short = Pressure { disk: true, ..Pressure::default() };
        let status = machine.status(&[], short, Some(&first), later);
        assert_eq!(status["conditions"][1]["message"], "kubelet has disk pressure");
        assert_eq!(status["conditions"][1]["lastTransitionTime"], "1970-01-01T00:08:20Z");
        assert_eq!(status["conditions"][0], first["conditions"][0]);
        let room = pid_room().unwrap();
        assert!(0 < room.free && room.free < room.whole, "{room:?}");
        assert_eq!(first["addresses"][0]["address"], "192.168.1.7");
        assert_eq!(first["conditions"][3]["reason"], "KubeletReady");
        assert_eq!(first["nodeInfo"]["containerRuntimeVersion"], "bramble://0.1.0");
    }
}
