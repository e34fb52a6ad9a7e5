//! What a pod may say in Kubernetes and is refused here, because nothing enforces it yet: a probe or a device that is
//! silently ignored is worse than one that is refused. To support a field, delete its line.

use serde_json::Value;

use crate::field::FieldError;
use crate::object::{get, list, text};

use super::check::Errors;

/// When a field counts as used.
enum When {
    /// It is there, and no empty list or object.
    Set,
    /// It is this text.
    Is(&'static str),
}

struct Field {
    /// From the pod spec; `*` is every item of a list.
    path: &'static str,
    when: When,
    why: &'static str,
}

const fn set(path: &'static str, why: &'static str) -> Field {
    Field { path, when: When::Set, why }
}

const DEVICE: &str = "raw block devices are not supported yet";
const CLAIM: &str = "dynamic resource allocation is not supported yet";
const WINDOWS: &str = "Windows containers are not supported";
const LABELS: &str = "SELinux options are not supported yet";
const PROFILE: &str = "AppArmor profiles are not supported yet";

const UNSUPPORTED: &[Field] = &[
    set("containers.*.volumeDevices", DEVICE),
    set("containers.*.resources.claims", CLAIM),
    set("containers.*.resizePolicy", "in-place resize is not supported yet"),
    set("containers.*.restartPolicy", "a container's own restartPolicy is not supported yet"),
    set("containers.*.restartPolicyRules", "a container's own restart rules are not supported yet"),
    set("containers.*.securityContext.windowsOptions", WINDOWS),
    set("containers.*.securityContext.seLinuxOptions", LABELS),
    set("containers.*.securityContext.appArmorProfile", PROFILE),
    set("initContainers.*.volumeDevices", DEVICE),
    set("initContainers.*.resources.claims", CLAIM),
    set("initContainers.*.restartPolicyRules", "a container's own restart rules are not supported yet"),
    set("initContainers.*.securityContext.windowsOptions", WINDOWS),
    set("initContainers.*.securityContext.seLinuxOptions", LABELS),
    set("initContainers.*.securityContext.appArmorProfile", PROFILE),
    set("resourceClaims", CLAIM),
    set("resources", "resources of a whole pod are not supported yet"),
    set("schedulingGates", "scheduling gates are not supported yet"),
    set("runtimeClassName", "runtime classes are not supported yet"),
    set("overhead", "runtime classes are not supported yet"),
    set("hostnameOverride", "a hostname override is not supported yet"),
    Field {
        path: "topologySpreadConstraints.*.whenUnsatisfiable",
        when: When::Is("DoNotSchedule"),
        why: "required topology spread is not supported yet, use ScheduleAnyway",
    },
    set(
        "affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution",
        "required pod affinity is not supported yet",
    ),
    set(
        "affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution",
        "required pod anti-affinity is not supported yet",
    ),
    set("securityContext.windowsOptions", WINDOWS),
    set("securityContext.seLinuxOptions", LABELS),
    set("securityContext.appArmorProfile", PROFILE),
    Field { path: "os.name", when: When::Is("windows"), why: WINDOWS },
];

/// Volume types that are mounted; every other type is refused.
pub(super) const VOLUME_TYPES: [&str; 7] =
    ["emptyDir", "hostPath", "configMap", "secret", "projected", "downwardAPI", "persistentVolumeClaim"];

/// Sources of a projected volume that are written; every other one is refused.
pub(super) const PROJECTIONS: [&str; 4] = ["serviceAccountToken", "configMap", "secret", "downwardAPI"];

/// Refuses every unsupported field of the pod spec at `path`.
pub(super) fn refuse(spec: &Value, path: &str, wrong: &mut Errors) {
    for field in UNSUPPORTED {
        match field.path.split_once(".*.") {
            Some((items, rest)) => {
                for (at, item) in list(spec, &format!("/{items}")).iter().enumerate() {
                    refuse_one(item, rest, &format!("{path}.{items}[{at}]"), field, wrong);
                }
            }
            None => refuse_one(spec, field.path, path, field, wrong),
        }
    }
}

fn refuse_one(owner: &Value, inner: &str, path: &str, field: &Field, wrong: &mut Errors) {
    let pointer = format!("/{}", inner.replace('.', "/"));
    let Some(value) = get(owner, &pointer) else { return };
    let used = match (&field.when, value) {
        (When::Set, Value::Array(items)) => !items.is_empty(),
        (When::Set, Value::Object(fields)) => !fields.is_empty(),
        (When::Set, Value::String(text)) => !text.is_empty(),
        (When::Set, _) => true,
        (When::Is(word), _) => text(owner, &pointer) == *word,
    };
    if used {
        wrong.push(FieldError::forbidden(format!("{path}.{inner}"), field.why));
    }
}
