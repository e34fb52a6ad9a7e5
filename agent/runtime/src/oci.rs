//! From a `ContainerSpec` to the OCI runtime specification's config.json.

mod capabilities;
mod devices;
pub(crate) mod seccomp;

use libcontainer::oci_spec::runtime::{Capabilities, LinuxCapabilities};
use serde_json::{Value, json};

pub(crate) use capabilities::check as check_capabilities;
pub(crate) use devices::is_allowed_everything;

use crate::layout::{ContainerDir, SandboxDir};
use crate::spec::{ContainerSpec, ExecSpec, Mount, Propagation, Resources, SandboxSpec};

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What else of the pod goes into a container's configuration.
pub(crate) struct Place<'a> {
    pub sandbox: &'a SandboxSpec,
    pub sandbox_dir: &'a SandboxDir,
    pub dir: &'a ContainerDir,
    /// The container's own cgroup, never shared: deleting a container kills everything in it.
    pub cgroup: &'a str,
    pub unified: bool,
    /// The process whose namespace of processes is joined.
    pub target_pid: Option<u32>,
}

pub(crate) fn config(spec: &ContainerSpec, place: &Place) -> Value {
    json!({
        "ociVersion": "1.0.2",
        "root": { "path": spec.rootfs, "readonly": spec.read_only_rootfs },
        "mounts": mounts(spec, place),
        "process": process(spec, place.sandbox),
        "linux": linux(spec, place),
    })
}

fn process(spec: &ContainerSpec, sandbox: &SandboxSpec) -> Value {
    let mut env = spec.env.clone();
    let has = |env: &[String], name: &str| env.iter().any(|entry| entry.starts_with(name));
    if !has(&env, "PATH=") {
        env.push(DEFAULT_PATH.into());
    }
    if !has(&env, "HOSTNAME=") && !sandbox.hostname.is_empty() {
        env.push(format!("HOSTNAME={}", sandbox.hostname));
    }
    if spec.tty && !has(&env, "TERM=") {
        env.push("TERM=xterm".into());
    }
    let mut process = json!({
        "terminal": spec.tty,
        "user": { "uid": spec.user.uid, "gid": spec.user.gid, "additionalGids": spec.user.additional_gids },
        "args": spec.args,
        "env": env,
        "cwd": if spec.cwd.as_os_str().is_empty() { "/".into() } else { spec.cwd.clone() },
    });
    if spec.no_new_privileges {
        process["noNewPrivileges"] = json!(true);
    }
    process
}

/// What the worker drops to, after it has loaded the seccomp filter: so they are absent from the process.
pub(crate) fn capabilities(spec: &ContainerSpec) -> LinuxCapabilities {
    let held: Capabilities =
        capabilities::of(spec).iter().filter_map(|name| serde_json::from_value(json!(name)).ok()).collect();
    let mut all = LinuxCapabilities::default();
    // Inheritable and ambient are empty on purpose; the library's default is not.
    all.set_bounding(Some(held.clone())).set_effective(Some(held.clone())).set_permitted(Some(held));
    all.set_inheritable(Some(Capabilities::new())).set_ambient(Some(Capabilities::new()));
    all
}

/// The process of an exec: the container's own, changed by what the caller says.
pub(crate) fn exec_process(config: &Value, exec: &ExecSpec) -> Value {
    let mut process = config["process"].clone();
    process["args"] = json!(exec.args);
    process["terminal"] = json!(exec.tty);
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let mut env: Vec<String> = process["env"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.as_str().map(str::to_owned))
        .filter(|entry| !exec.env.iter().any(|new| name(new) == name(entry)))
        .collect();
    env.extend(exec.env.iter().cloned());
    if exec.tty && !env.iter().any(|entry| entry.starts_with("TERM=")) {
        env.push("TERM=xterm".into());
    }
    process["env"] = json!(env);
    if let Some(cwd) = &exec.cwd {
        process["cwd"] = json!(cwd);
    }
    if let Some(user) = &exec.user {
        process["user"] = json!({ "uid": user.uid, "gid": user.gid, "additionalGids": user.additional_gids });
    }
    process
}

fn linux(spec: &ContainerSpec, place: &Place) -> Value {
    let masked = spec.masked_paths.clone().unwrap_or_else(|| MASKED.map(String::from).to_vec());
    let read_only = spec.readonly_paths.clone().unwrap_or_else(|| READ_ONLY.map(String::from).to_vec());
    let mut linux = json!({
        "cgroupsPath": format!("/{}", place.cgroup),
        "namespaces": namespaces(place),
        "resources": resources(&spec.resources, spec, place),
        "devices": devices::nodes(spec),
        "maskedPaths": if spec.privileged { vec![] } else { masked },
        "readonlyPaths": if spec.privileged { vec![] } else { [read_only, cgroup_mounts(place)].concat() },
    });
    if spec.mounts.iter().any(|mount| mount.propagation == Propagation::Bidirectional) {
        linux["rootfsPropagation"] = json!("shared");
    } else if spec.mounts.iter().any(|mount| mount.propagation == Propagation::HostToContainer) {
        linux["rootfsPropagation"] = json!("slave");
    }
    linux
}

/// On v1 the library mounts each hierarchy writable whatever the mount's options say, and a container could loosen
/// its own device rules and limits.
fn cgroup_mounts(place: &Place) -> Vec<String> {
    if place.unified {
        return Vec::new();
    }
    let mut paths = vec!["/sys/fs/cgroup".to_owned()];
    paths.extend(crate::cgroup::folders("").iter().map(|path| path.to_string_lossy().trim_end_matches('/').to_owned()));
    paths
}

fn namespaces(place: &Place) -> Value {
    let mut namespaces = vec![json!({ "type": "mount" }), json!({ "type": "cgroup" })];
    if place.sandbox.user_namespace {
        namespaces.push(json!({ "type": "user", "path": place.sandbox_dir.namespace("user") }));
    }
    for kind in crate::namespaces::kinds(place.sandbox) {
        let typ = if kind == "net" { "network" } else { kind };
        namespaces.push(json!({ "type": typ, "path": place.sandbox_dir.namespace(kind) }));
    }
    if place.sandbox.share_process_namespace {
        namespaces.push(json!({ "type": "pid", "path": place.sandbox_dir.namespace("pid") }));
    } else if let Some(pid) = place.target_pid.filter(|_| !place.sandbox.host_pid) {
        namespaces.push(json!({ "type": "pid", "path": format!("/proc/{pid}/ns/pid") }));
    } else if !place.sandbox.host_pid {
        namespaces.push(json!({ "type": "pid" }));
    }
    Value::Array(namespaces)
}

fn resources(limits: &Resources, spec: &ContainerSpec, place: &Place) -> Value {
    let mut out = json!({ "devices": devices::rules(spec) });
    let mut cpu = serde_json::Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            cpu.insert(name.to_owned(), value);
        }
    };
    set("shares", limits.cpu_shares.map(|shares| json!(shares.max(2))));
    set("quota", limits.cpu_quota_us.map(|quota| json!(quota)));
    set("period", limits.cpu_period_us.map(|period| json!(period)));
    if !cpu.is_empty() {
        out["cpu"] = Value::Object(cpu);
    }
    if let Some(limit) = limits.memory_limit_bytes {
        out["memory"] = json!({ "limit": limit });
        if place.unified {
            // All of a container dies together, as Kubernetes has it on v2.
            out["unified"] = json!({ "memory.oom.group": "1" });
        }
    }
    if let Some(limit) = limits.pids_limit {
        out["pids"] = json!({ "limit": limit });
    }
    out
}

fn mounts(spec: &ContainerSpec, place: &Place) -> Vec<Value> {
    let sys_mode = if spec.privileged { "rw" } else { "ro" };
    let entry = |path: &str, typ: &str, source: &str, options: &[&str]| json!({ "destination": path, "type": typ, "source": source, "options": options });
    let mut mounts = vec![
        entry("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        entry("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        entry(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        entry("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        entry("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", sys_mode]),
        entry("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", sys_mode]),
    ];
    let shm = if place.sandbox.host_ipc { "/dev/shm".into() } else { place.sandbox_dir.shm() };
    mounts.push(json!({ "destination": "/dev/shm", "type": "bind", "source": shm, "options": ["rbind", "rw", "nosuid", "nodev", "noexec"] }));
    let mut binds: Vec<Mount> = spec.mounts.clone();
    if !spec.termination_message_path.is_empty() {
        binds.push(Mount {
            host_path: place.dir.termination(),
            container_path: spec.termination_message_path.clone().into(),
            ..Default::default()
        });
    }
    // Parents before what lies in them.
    binds.sort_by_key(|bind| bind.container_path.components().count());
    mounts.extend(binds.iter().map(bind));
    mounts
}

fn bind(mount: &Mount) -> Value {
    let propagation = match mount.propagation {
        Propagation::Private => "rprivate",
        Propagation::HostToContainer => "rslave",
        Propagation::Bidirectional => "rshared",
    };
    let mut options = vec!["rbind", propagation, if mount.read_only { "ro" } else { "rw" }];
    if mount.recursive_read_only {
        options.push("rro");
    }
    json!({ "destination": mount.container_path, "type": "bind", "source": mount.host_path, "options": options })
}
