//! A machine's state as the kubelet would report it.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, HostIP,
    Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::machine::{Ended, Phase, Role, Slot, Stage, State};
use crate::ports::PodFacts;
use crate::resources;

/// The scheme of a containerID.
pub const CONTAINER_SCHEME: &str = "bramble://";

/// The status at `now`; `previous` lends the transition times of conditions that did not change.
pub fn render(pod: &Pod, state: &State, facts: &PodFacts, previous: Option<&PodStatus>, now: Timestamp) -> PodStatus {
    let phase = phase(pod, state);
    let has_init = state.slots.iter().any(|slot| slot.role != Role::Main);
    let statuses = |init: bool| -> Vec<ContainerStatus> {
        let slots = state.slots.iter().filter(|slot| (slot.role != Role::Main) == init);
        slots.map(|slot| container_status(slot, has_init)).collect()
    };
    let init = statuses(true);
    let mut main = statuses(false);
    main.sort_by(|a, b| a.name.cmp(&b.name));
    let ips = &state.pod_ips;
    let failure = state.failure.as_ref();
    PodStatus {
        conditions: Some(conditions(pod, state, phase, previous, now)),
        container_statuses: Some(main),
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
        ..PodStatus::default()
    }
}

/// `Pending`, `Running`, `Succeeded` or `Failed`.
pub fn phase(pod: &Pod, state: &State) -> &'static str {
    let policy = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always");
    if state.failure.is_some() {
        return "Failed";
    }
    let mains = || state.slots.iter().filter(|slot| slot.role == Role::Main);
    let code = |slot: &Slot| match (&slot.phase, &slot.last) {
        (Phase::Ended(ended), _) => Some(ended.code),
        (Phase::Waiting { .. }, Some(last)) => Some(last.code),
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
    let running = |slot: &Slot| matches!(slot.phase, Phase::Running { .. });
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

fn container_status(slot: &Slot, has_init: bool) -> ContainerStatus {
    let running = matches!(slot.phase, Phase::Running { .. });
    let completed = matches!(&slot.phase, Phase::Ended(ended) if ended.code == 0);
    let id = match &slot.phase {
        Phase::Running { .. } => slot.container_id.clone(),
        Phase::Ended(ended) => ended.container_id.clone(),
        Phase::Waiting { .. } => slot.last.as_ref().and_then(|last| last.container_id.clone()),
    };
    ContainerStatus {
        container_id: id.map(|id| format!("{CONTAINER_SCHEME}{id}")),
        image: slot.image.clone(),
        image_id: slot.image_id.clone().unwrap_or_default(),
        last_state: Some(slot.last.as_ref().map(terminated).unwrap_or_default()),
        name: slot.name.clone(),
        ready: if slot.role == Role::Init { completed } else { running },
        restart_count: slot.restart_count(),
        started: Some(running),
        state: Some(container_state(slot, has_init)),
        ..ContainerStatus::default()
    }
}

fn container_state(slot: &Slot, has_init: bool) -> ContainerState {
    match &slot.phase {
        Phase::Running { since } => ContainerState {
            running: Some(ContainerStateRunning { started_at: Some(Time(*since)) }),
            ..ContainerState::default()
        },
        Phase::Ended(ended) => terminated(ended),
        Phase::Waiting { reason, message, .. } => {
            let usual = if has_init { "PodInitializing" } else { "ContainerCreating" };
            let reason = if reason.is_empty() { usual } else { reason };
            let message = (!message.is_empty()).then(|| message.clone());
            let waiting = Some(ContainerStateWaiting { reason: Some(reason.to_owned()), message });
            ContainerState { waiting, ..ContainerState::default() }
        }
    }
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
    let mut list = vec![
        condition("PodReadyToStartContainers", (sandbox, "", String::new())),
        condition("Initialized", initialized(state, phase)),
        condition("Ready", gates(pod, given).unwrap_or(ready.clone()).min_good(&ready)),
        condition("ContainersReady", ready),
        condition("PodScheduled", fine()),
    ];
    // Conditions of others (readiness gates, DisruptionTarget) are theirs, and are kept.
    let others = given.iter().filter(|one| !list.iter().any(|ours| ours.type_ == one.type_));
    let others: Vec<PodCondition> = others.cloned().collect();
    list.extend(others);
    list
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
    let unmet = |type_: &str| !given.iter().any(|one| one.type_ == type_ && one.status == "True");
    let missing: Vec<String> = gates
        .iter()
        .filter(|gate| unmet(&gate.condition_type))
        .map(|gate| {
            format!("corresponding condition of pod readiness gate \"{}\" does not exist.", gate.condition_type)
        })
        .collect();
    (!missing.is_empty()).then(|| (false, "ReadinessGatesNotReady", missing.join(", ")))
}

fn initialized(state: &State, phase: &str) -> Verdict {
    let done = |slot: &Slot| match slot.role {
        Role::Init => matches!(&slot.phase, Phase::Ended(ended) if ended.code == 0),
        _ => slot.was_up(),
    };
    let unfinished = state.slots.iter().filter(|slot| slot.role != Role::Main && !done(slot));
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
    let unready =
        state.slots.iter().filter(|slot| slot.role != Role::Init && !matches!(slot.phase, Phase::Running { .. }));
    let names: Vec<&str> = unready.map(|slot| slot.name.as_str()).collect();
    if names.is_empty() {
        return (true, "", String::new());
    }
    (false, "ContainersNotReady", format!("containers with unready status: [{}]", names.join(" ")))
}
