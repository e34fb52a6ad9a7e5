//! A pod's net, ipc and uts namespaces, and the user namespace that may own them: made by a helper process that ends,
//! kept by bind mounts.

mod users;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::layout::SandboxDir;
use crate::runtime::Record;
use crate::spec::SandboxSpec;
pub(crate) use users::{become_root, lone_users};

/// Memory that containers of a pod may share through /dev/shm.
const SHM_OPTIONS: &str = "mode=1777,size=64m";
const NONE: Option<&str> = None;

/// What the helper is told, as JSON in its only argument.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    dir: PathBuf,
    kinds: Vec<String>,
    hostname: String,
    sysctls: Vec<(String, String)>,
    /// The host's id of the user namespace's root.
    first_id: Option<u32>,
}

/// The namespaces that a sandbox has for itself.
pub(crate) fn kinds(spec: &SandboxSpec) -> Vec<&'static str> {
    let mut kinds = Vec::new();
    if !spec.host_network {
        // With the host's network the host's name stays too, as Kubernetes has it.
        kinds.extend(["net", "uts"]);
    }
    if !spec.host_ipc {
        kinds.push("ipc");
    }
    kinds
}

/// Makes what is missing of the namespaces and of the pod's /dev/shm.
pub(crate) fn make(executable: &Path, dir: &SandboxDir, record: &Record) -> io::Result<()> {
    let spec = &record.spec;
    make_shm(dir, record)?;
    let mut kinds = kinds(spec);
    if record.first_id.is_some() {
        kinds.insert(0, "user");
    }
    if kinds.iter().all(|kind| is_mount_point(&dir.namespace(kind))) {
        return Ok(());
    }
    // After a crash half-way all of them are made anew, so that they belong together.
    remove(dir)?;
    fs::create_dir_all(dir.0.join("ns"))?;
    make_shm(dir, record)?;
    for kind in &kinds {
        fs::File::create(dir.namespace(kind))?;
    }
    let order = Order {
        dir: dir.0.join("ns"),
        kinds: kinds.iter().map(|kind| kind.to_string()).collect(),
        hostname: spec.hostname.clone(),
        sysctls: spec.sysctls.clone().into_iter().collect(),
        first_id: record.first_id,
    };
    let out = Command::new(executable)
        .arg(crate::dispatch::NAMESPACES)
        .arg(serde_json::to_string(&order)?)
        .stdin(Stdio::null())
        .output()?;
    if !out.status.success() {
        let words = String::from_utf8_lossy(&out.stderr).trim().to_owned();
        return Err(io::Error::other(format!("namespace helper failed: {words}")));
    }
    Ok(())
}

fn make_shm(dir: &SandboxDir, record: &Record) -> io::Result<()> {
    let shm = dir.shm();
    if record.spec.host_ipc || is_mount_point(&shm) {
        return Ok(());
    }
    fs::create_dir_all(&shm)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let owner = record.first_id.map(|id| format!(",uid={id},gid={id}")).unwrap_or_default();
    Ok(mount(Some("shm"), &shm, Some("tmpfs"), flags, Some(format!("{SHM_OPTIONS}{owner}").as_str()))?)
}

/// Unmounts and removes them; fine when there are none.
pub(crate) fn remove(dir: &SandboxDir) -> io::Result<()> {
    let mut paths: Vec<PathBuf> = ["user", "net", "ipc", "uts", "pid"].iter().map(|kind| dir.namespace(kind)).collect();
    paths.push(dir.shm());
    for path in paths {
        if is_mount_point(&path) {
            umount2(&path, MntFlags::MNT_DETACH)?;
        }
    }
    match fs::remove_dir_all(dir.0.join("ns")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn is_mount_point(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(here), Some(Ok(above))) = (fs::metadata(path), path.parent().map(fs::metadata)) else { return false };
    here.dev() != above.dev()
}

/// The helper's whole life.
pub(crate) fn helper(order: &str) -> io::Result<()> {
    // What it makes is for the agent that waits for it: the next one does not know of this process.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    let order: Order = serde_json::from_str(order)?;
    match order.first_id {
        Some(first_id) => users::make(&order, first_id),
        None => {
            unshare(flags(&order))?;
            name(&order)?;
            set(&order.sysctls)?;
            order.kinds.iter().try_for_each(|kind| keep(&order, kind, "self"))
        }
    }
}

/// What is to be unshared, but for the user namespace.
fn flags(order: &Order) -> CloneFlags {
    order.kinds.iter().fold(CloneFlags::empty(), |flags, kind| flags | flag(kind)) - CloneFlags::CLONE_NEWUSER
}

fn flag(kind: &str) -> CloneFlags {
    match kind {
        "user" => CloneFlags::CLONE_NEWUSER,
        "net" => CloneFlags::CLONE_NEWNET,
        "ipc" => CloneFlags::CLONE_NEWIPC,
        _ => CloneFlags::CLONE_NEWUTS,
    }
}

fn name(order: &Order) -> io::Result<()> {
    if order.kinds.iter().any(|kind| kind == "uts") {
        nix::unistd::sethostname(&order.hostname)?;
    }
    Ok(())
}

fn set<'a>(sysctls: impl IntoIterator<Item = &'a (String, String)>) -> io::Result<()> {
    for (name, value) in sysctls {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        fs::write(&path, value).map_err(|error| io::Error::new(error.kind(), format!("sysctl {name}: {error}")))?;
    }
    Ok(())
}

/// Mounts a process's namespace where the pod's is looked for.
fn keep(order: &Order, kind: &str, process: &str) -> io::Result<()> {
    let source = format!("/proc/{process}/ns/{kind}");
    Ok(mount(Some(source.as_str()), &order.dir.join(kind), NONE, MsFlags::MS_BIND, NONE)?)
}
