//! A machine's state as the kubelet would report it.

use control_api::view::Time;
use control_api::view::core::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    ContainerUser, HostIP, LinuxContainerUser, Pod, PodCondition, PodIP, PodStatus, VolumeMount, VolumeMountStatus,
};
use jiff::Timestamp;

use crate::machine::{self, Ended, Failure, Phase, Role, Slot, Stage, State};
use crate::ports::{PodFacts, User};
use crate::resources;
use crate::spec;

/// The scheme of a containerID.
pub const CONTAINER_SCHEME: &str = "bramble://";

/// The status at `now`; `previous` lends the transition times of conditions that did not change.
pub fn render(pod: &Pod, state: &State, facts: &PodFacts, previous: Option<&PodStatus>, now: Timestamp) -> PodStatus {
    let (phase, verdict) = (phase(pod, state), verdict(pod, state));
    let has_init = state.slots.iter().any(|slot| matches!(slot.role, Role::Init | Role::Sidecar));
    let statuses = |roles: &[Role]| -> Vec<ContainerStatus> {
        let rejected = state.failure.as_ref().is_some_and(Failure::is_rejection);
        let slots = state.slots.iter().filter(|slot| roles.contains(&slot.role) && !rejected);
        slots.map(|slot| container_status(pod, slot, has_init)).collect()
    };
    let init = statuses(&[Role::Init, Role::Sidecar]);
    let ephemeral = statuses(&[Role::Ephemeral]);
    let mut main = statuses(&[Role::Main]);
    main.sort_by(|a, b| a.name.cmp(&b.name));
    let ips = &state.pod_ips;
    let failure = state.failure.as_ref().filter(|_| phase == "Failed");
    PodStatus {
        conditions: Some(conditions(pod, state, verdict, previous, now)),
        container_statuses: Some(main),
        ephemeral_container_statuses: (!ephemeral.is_empty()).then_some(ephemeral),
        init_container_statuses: (!init.is_empty()).then_some(init),
        host_ip: facts.host_ips.first().cloned(),
        host_ips: Some(facts.host_ips.iter().map(|ip| HostIP { ip: ip.clone() }).collect()),
        message: failure.map(|failure| failure.message.clone()),
        reason: failure.map(|failure| failure.reason.clone()),
        observed_generation: pod.metadata.generation,
        phase: Some(phase.to_owned()),
        pod_ip: ips.first().cloned(),
        pod_ips: (!ips.is_empty()).then(|| ips.iter().map(|ip| PodIP { ip: ip.clone() }).collect()),
        qos_class: Some(resources::qos(pod).as_str().to_owned()),
        start_time: Some(Time(state.started)),
    }
}

/// `Pending`, `Running`, `Succeeded` or `Failed`. Nothing of a pod that has succeeded or failed runs any more, no
/// sidecar either: whoever replaces it counts on that.
pub fn phase(pod: &Pod, state: &State) -> &'static str {
    let begun = state.slots.iter().any(|slot| slot.role == Role::Main && slot.was_up());
    match verdict(pod, state) {
        "Succeeded" | "Failed" if state.alive() => {
            if begun {
                "Running"
            } else {
                "Pending"
            }
        }
        verdict => verdict,
    }
}

/// The phase as the main containers have it.
fn verdict(pod: &Pod, state: &State) -> &'static str {
    let policy = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always");
    if state.failure.is_some() {
        return "Failed";
    }
    let mains = || state.slots.iter().filter(|slot| slot.role == Role::Main);
    let code = |slot: &Slot| match (&slot.phase, &slot.last) {
        (Phase::Ended(ended), _) => Some(ended.code),
        (_, Some(last)) if !slot.is_up() => Some(last.code),
        _ => None,
    };
    if matches!(state.stage, Stage::Tearing | Stage::Down | Stage::Gone) {
        let good = mains().all(|slot| code(slot) == Some(0));
        return if good { "Succeeded" } else { "Failed" };
    }
    let init_failed = |slot: &Slot| slot.role == Role::Init && code(slot).is_some_and(|code| code != 0);
    if policy == "Never" && state.slots.iter().any(init_failed) {
        return "Failed";
    }
    let running = Slot::is_up;
    let untried = mains().any(|slot| !running(slot) && code(slot).is_none());
    if untried || (!state.initialized() && !mains().any(running)) {
        return "Pending";
    }
    let failed = mains().any(|slot| code(slot).is_some_and(|code| code != 0));
    match (mains().any(running), policy, failed) {
        (true, ..) | (_, "Always", _) | (_, "OnFailure", true) => "Running",
        (_, _, false) => "Succeeded",
        (_, _, true) => "Failed",
    }
}

fn container_status(pod: &Pod, slot: &Slot, has_init: bool) -> ContainerStatus {
    let completed = matches!(&slot.phase, Phase::Ended(ended) if ended.code == 0);
    let id = match &slot.phase {
        Phase::Running { .. } => slot.container_id.clone(),
        Phase::Ended(ended) => ended.container_id.clone(),
        Phase::Waiting { .. } => slot.last.as_ref().and_then(|last| last.container_id.clone()),
    };
    let user = id.as_ref().and(slot.user.as_ref()).map(container_user);
    ContainerStatus {
        container_id: id.map(|id| format!("{CONTAINER_SCHEME}{id}")),
        image: slot.image.clone(),
        image_id: slot.image_id.clone().unwrap_or_default(),
        last_state: Some(slot.last.as_ref().map(terminated).unwrap_or_default()),
        name: slot.name.clone(),
        ready: match slot.role {
            Role::Init => completed,
            Role::Ephemeral => false,
            Role::Sidecar | Role::Main => slot.is_ready(),
        },
        restart_count: slot.restart_count(),
        started: Some(slot.is_started()),
        state: Some(container_state(slot, has_init)),
        user,
        volume_mounts: machine::container(pod, &slot.name).and_then(volume_mounts),
        ..ContainerStatus::default()
    }
}

fn container_user(user: &User) -> ContainerUser {
    let groups = user.additional_gids.iter().copied().map(i64::from);
    let linux = LinuxContainerUser {
        gid: user.gid.into(),
        supplemental_groups: Some(groups.collect()).filter(|groups: &Vec<i64>| !groups.is_empty()),
        uid: user.uid.into(),
    };
    ContainerUser { linux: Some(linux) }
}

fn volume_mounts(container: &Container) -> Option<Vec<VolumeMountStatus>> {
    let status = |mount: &VolumeMount| {
        let recursive = if spec::is_recursively_read_only(mount) { "Enabled" } else { "Disabled" };
        VolumeMountStatus {
            mount_path: mount.mount_path.clone(),
            name: mount.name.clone(),
            read_only: mount.read_only.filter(|read_only| *read_only),
            recursive_read_only: (mount.read_only == Some(true)).then(|| recursive.to_owned()),
        }
    };
    container.volume_mounts.as_ref().map(|mounts| mounts.iter().map(status).collect())
}

fn container_state(slot: &Slot, has_init: bool) -> ContainerState {
    match &slot.phase {
        // Until its postStart hook is done it is still being made.
        Phase::Running { .. } if !slot.posted => waiting("", "", has_init),
        Phase::Running { since } => ContainerState {
            running: Some(ContainerStateRunning { started_at: Some(Time(*since)) }),
            ..ContainerState::default()
        },
        Phase::Ended(ended) => terminated(ended),
        Phase::Waiting { reason, message, .. } => waiting(reason, message, has_init),
    }
}

fn waiting(reason: &str, message: &str, has_init: bool) -> ContainerState {
    let usual = if has_init { "PodInitializing" } else { "ContainerCreating" };
    let reason = if reason.is_empty() { usual } else { reason };
    let message = (!message.is_empty()).then(|| message.to_owned());
    let waiting = Some(ContainerStateWaiting { reason: Some(reason.to_owned()), message });
    ContainerState { waiting, ..ContainerState::default() }
}

fn terminated(ended: &Ended) -> ContainerState {
    let terminated = ContainerStateTerminated {
        container_id: ended.container_id.as_ref().map(|id| format!("{CONTAINER_SCHEME}{id}")),
        exit_code: ended.code,
        finished_at: Some(Time(ended.finished_at)),
        message: (!ended.message.is_empty()).then(|| ended.message.clone()),
        reason: Some(ended.reason.clone()),
        signal: ended.signal,
        started_at: ended.started_at.map(Time),
    };
    ContainerState { terminated: Some(terminated), ..ContainerState::default() }
}

/// Status, reason and message of a condition.
type Verdict = (bool, &'static str, String);

fn conditions(
    pod: &Pod,
    state: &State,
    phase: &str,
    previous: Option<&PodStatus>,
    now: Timestamp,
) -> Vec<PodCondition> {
    let own = previous.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let given = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let condition = |type_: &str, (good, reason, message): Verdict| {
        let status = if good { "True" } else { "False" };
        let same = |one: &&PodCondition| one.type_ == type_ && one.status == status;
        let old = own.iter().chain(given).find(same).and_then(|one| one.last_transition_time.clone());
        PodCondition {
            last_probe_time: None,
            last_transition_time: Some(old.unwrap_or(Time(now))),
            message: (!message.is_empty()).then_some(message),
            observed_generation: pod.metadata.generation,
            reason: (!reason.is_empty()).then(|| reason.to_owned()),
            status: status.to_owned(),
            type_: type_.to_owned(),
        }
    };
    let sandbox = state.stage == Stage::Up;
    let ready = containers_ready(state, phase);
    let fine = || (true, "", String::new());
    // Conditions of others (readiness gates, DisruptionTarget) are theirs: the server keeps them beside these.
    let mut all = vec![
        condition("PodReadyToStartContainers", (sandbox, "", String::new())),
        condition("Initialized", initialized(state, phase)),
        condition("Ready", gates(pod, given).unwrap_or(ready.clone()).min_good(&ready)),
        condition("ContainersReady", ready),
        condition("PodScheduled", fine()),
    ];
    if let Some(failure) = state.failure.as_ref().filter(|failure| failure.disrupted) {
        all.push(condition("DisruptionTarget", (true, "TerminationByKubelet", failure.message.clone())));
    }
    all
}

trait MinGood {
    fn min_good(self, other: &Verdict) -> Verdict;
}

impl MinGood for Verdict {
    /// What the containers lack is told before what a gate lacks.
    fn min_good(self, other: &Verdict) -> Verdict {
        if other.0 { self } else { other.clone() }
    }
}

/// A verdict of the pod's readiness gates, when one of them is not met.
fn gates(pod: &Pod, given: &[PodCondition]) -> Option<Verdict> {
    let gates = pod.spec.as_ref()?.readiness_gates.as_deref()?;
    let unmet = |type_: &str| match given.iter().find(|one| one.type_ == type_).map(|one| one.status.as_str()) {
        Some("True") => None,
        Some(status) => Some(format!("the status of pod readiness gate \"{type_}\" is not \"True\", but {status}")),
        None => Some(format!("corresponding condition of pod readiness gate \"{type_}\" does not exist.")),
    };
    let unmet: Vec<String> = gates.iter().filter_map(|gate| unmet(&gate.condition_type)).collect();
    (!unmet.is_empty()).then(|| (false, "ReadinessGatesNotReady", unmet.join(", ")))
}

fn initialized(state: &State, phase: &str) -> Verdict {
    let unfinished = state.slots.iter().filter(|slot| !state.begun && !slot.lets_next_start());
    let names: Vec<&str> = unfinished.map(|slot| slot.name.as_str()).collect();
    match (names.is_empty(), phase) {
        (_, "Succeeded") => (true, "PodCompleted", String::new()),
        (true, _) => (true, "", String::new()),
        (false, _) => {
            let message = format!("containers with incomplete status: [{}]", names.join(" "));
            (false, "ContainersNotInitialized", message)
        }
    }
}

fn containers_ready(state: &State, phase: &str) -> Verdict {
    match phase {
        "Succeeded" => return (false, "PodCompleted", String::new()),
        "Failed" => return (false, "PodFailed", String::new()),
        _ => {}
    }
    let unready = state.slots.iter().filter(|slot| matches!(slot.role, Role::Main | Role::Sidecar) && !slot.is_ready());
    let names: Vec<&str> = unready.map(|slot| slot.name.as_str()).collect();
    if names.is_empty() {
        return (true, "", String::new());
    }
    (false, "ContainersNotReady", format!("containers with unready status: [{}]", names.join(" ")))
}
