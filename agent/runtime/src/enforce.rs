//! What a container asks for and this machine cannot enforce: told before anything is made, since libraries and kernels
//! pass over much of it in silence.

use std::fs;
use std::path::Path;

use crate::cgroup;
use crate::idmap;
use crate::oci;
use crate::spec::{ContainerSpec, Propagation, Resources, SandboxSpec};
use crate::users::LENGTH;

/// Where a kernel without a controller gets it from, if it has it at all.
const HINT: &str = "the kernel's command line can turn it on, see bramble-agent doctor";

/// Why limits of a pod or a container could not hold.
pub(crate) fn limits(limits: &Resources) -> Result<(), String> {
    missing_limit(limits, controller_is_there)
}

/// Why a pod's sandbox could not hold what it asks for.
pub(crate) fn sandbox(spec: &SandboxSpec) -> Result<(), String> {
    limits(&spec.resources)?;
    if !spec.user_namespace {
        return Ok(());
    }
    if spec.host_network || spec.host_pid || spec.host_ipc {
        return Err("a user namespace of its own cannot go with the host's network, processes or IPC".into());
    }
    has_user_namespaces()
}

/// Why this kernel has none that a pod could be in.
pub(crate) fn has_user_namespaces() -> Result<(), String> {
    let most = fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    if !Path::new("/proc/self/ns/user").exists() || most.trim() == "0" {
        return Err("user namespaces are off in this kernel".into());
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    maps_layers(release.trim())
}

/// Overlays of layers with mapped owners came with Linux 5.19.
fn maps_layers(release: &str) -> Result<(), String> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= (5, 19) { Ok(()) } else { Err(format!("user namespaces need Linux 5.19, and this is {release}")) }
}

/// Why a container cannot have what it asks for in a user namespace.
pub(crate) fn in_user_namespace(spec: &ContainerSpec, users: &Path) -> Result<(), String> {
    let ids = [spec.user.uid, spec.user.gid];
    if let Some(id) = ids.iter().chain(&spec.user.additional_gids).find(|id| **id >= LENGTH) {
        return Err(format!("id {id} is none of the {LENGTH} ids that its user namespace has"));
    }
    let users = fs::File::open(users).map_err(|error| format!("{}: {error}", users.display()))?;
    for mount in &spec.mounts {
        if mount.propagation == Propagation::Bidirectional {
            let path = mount.container_path.display();
            return Err(format!("what is mounted at {path} in a user namespace cannot appear on the host"));
        }
        let tried =
            idmap::copy(&mount.host_path, false).and_then(|tree| idmap::map(&tree, &users, 0, &mount.host_path));
        tried.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Why a container would be less isolated, or limited, than it asks for.
pub(crate) fn container(spec: &ContainerSpec) -> Result<(), String> {
    limits(&spec.resources)?;
    oci::check_capabilities(spec)?;
    // On v2 a program of ours decides about devices, and its loading says what is wrong.
    if !oci::is_allowed_everything(spec) && !cgroup::is_unified() && !controller_is_there("devices") {
        return Err(format!("the kernel's devices cgroup is off, so that its devices cannot be guarded: {HINT}"));
    }
    Ok(())
}

fn missing_limit(limits: &Resources, is_there: impl Fn(&str) -> bool) -> Result<(), String> {
    let asked = [
        ("memory", limits.memory_limit_bytes.is_some()),
        ("cpu", limits.cpu_quota_us.is_some()),
        ("pids", limits.pids_limit.is_some()),
    ];
    match asked.iter().find(|(controller, asked)| *asked && !is_there(controller)) {
        Some((name, _)) => {
            Err(format!("the kernel's {name} cgroup is off, so that its {name} limit cannot hold: {HINT}"))
        }
        None => Ok(()),
    }
}

fn controller_is_there(name: &str) -> bool {
    let root = Path::new(cgroup::ROOT);
    if cgroup::is_unified() {
        let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        return controllers.split_whitespace().any(|known| known == name);
    }
    root.join(name).join("cgroup.procs").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_namespaces_need_a_kernel_that_maps_layers() {
        for fine in ["5.19.0", "6.1.0-18-amd64", "6.12.34+rpt-rpi-v8"] {
            assert_eq!(maps_layers(fine), Ok(()));
        }
        assert_eq!(maps_layers("5.15.0-1"), Err("user namespaces need Linux 5.19, and this is 5.15.0-1".into()));
    }

    #[test]
    fn a_limit_needs_its_controller_and_a_weight_needs_none() {
        let memory = Resources { memory_limit_bytes: Some(1), ..Default::default() };
        assert!(missing_limit(&memory, |_| false).unwrap_err().starts_with("the kernel's memory cgroup is off"));
        assert_eq!(missing_limit(&memory, |name| name == "memory"), Ok(()));
        let weight = Resources { cpu_shares: Some(2), ..Default::default() };
        assert_eq!(missing_limit(&weight, |_| false), Ok(()));
        let quota = Resources { cpu_quota_us: Some(1000), ..Default::default() };
        assert!(missing_limit(&quota, |name| name == "memory").unwrap_err().contains("its cpu limit"));
    }
}
