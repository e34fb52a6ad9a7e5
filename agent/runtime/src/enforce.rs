//! What a container asks for and this machine cannot enforce: told before anything is made, since libraries and kernels
//! pass over much of it in silence.

use std::fs;
use std::path::Path;

use crate::cgroup;
use crate::oci;
use crate::spec::{ContainerSpec, Resources};

/// Where a kernel without a controller gets it from, if it has it at all.
const HINT: &str = "the kernel's command line can turn it on, see bramble-agent doctor";

/// Why limits of a pod or a container could not hold.
pub(crate) fn limits(limits: &Resources) -> Result<(), String> {
    missing_limit(limits, controller_is_there)
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
