//! Pods: the one word that sums up phase, conditions and every container.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::object::{flag, get, integer, list, text};

use super::age::{age, since_text};
use super::{AGE, Column, NAME, Printer, or};

/// The reason that a pod's status carries when its node is unreachable.
const NODE_LOST: &str = "NodeLost";

pub(super) static PRINTER: Printer = Printer {
    columns: &[
        NAME,
        Column::string("Ready", "The aggregate readiness state of this pod for accepting traffic."),
        Column::string("Status", "The aggregate status of the containers in this pod."),
        Column::string(
            "Restarts",
            "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted.",
        ),
        AGE,
        Column::wide("IP", "The address allocated to the pod."),
        Column::wide("Node", "The node that the pod is bound to."),
        Column::wide("Nominated Node", "The node that the pod waits for others to be preempted on."),
        Column::wide("Readiness Gates", "The readiness gates that hold, of those that the pod states."),
    ],
    cells,
};

fn cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let summary = Summary::of(pod);
    let restarts = match summary.last_restart {
        Some(time) if summary.restarts != 0 => format!("{} ({} ago)", summary.restarts, since_text(time, now)),
        _ => summary.restarts.to_string(),
    };
    let addresses = list(pod, "/status/podIPs").first().map_or("", |address| text(address, "/ip"));
    let address = if addresses.is_empty() { text(pod, "/status/podIP") } else { addresses };
    vec![
        json!(text(pod, "/metadata/name")),
        json!(format!("{}/{}", summary.ready, summary.containers)),
        json!(summary.reason),
        json!(restarts),
        age(pod, now),
        or(address, "<none>"),
        or(text(pod, "/spec/nodeName"), "<none>"),
        or(text(pod, "/status/nominatedNodeName"), "<none>"),
        json!(readiness_gates(pod)),
    ]
}

struct Summary<'a> {
    reason: String,
    ready: usize,
    containers: usize,
    restarts: i64,
    last_restart: Option<&'a str>,
}

/// Restarts and the time of the last one; RFC 3339 times of one precision in UTC sort as text.
#[derive(Default, Clone, Copy)]
struct Restarts<'a> {
    count: i64,
    last: Option<&'a str>,
}

impl<'a> Restarts<'a> {
    fn add(&mut self, status: &'a Value) {
        self.count += integer(status, "/restartCount").unwrap_or(0);
        let finished = text(status, "/lastState/terminated/finishedAt");
        if !finished.is_empty() {
            self.last = self.last.max(Some(finished));
        }
    }
}

impl<'a> Summary<'a> {
    fn of(pod: &'a Value) -> Self {
        let mut summary = Summary {
            reason: first_reason(pod),
            ready: 0,
            containers: list(pod, "/spec/containers").len() + sidecars(pod).len(),
            restarts: 0,
            last_restart: None,
        };
        let (initializing, all, of_sidecars) = summary.add_init(pod);
        let mut restarts = all;
        if !initializing || condition(pod, "Initialized") == Some("True") {
            restarts = of_sidecars;
            summary.add_main(pod, &mut restarts);
        }
        (summary.restarts, summary.last_restart) = (restarts.count, restarts.last);
        if get(pod, "/metadata/deletionTimestamp").is_some() {
            let phase = text(pod, "/status/phase");
            if text(pod, "/status/reason") == NODE_LOST {
                summary.reason = "Unknown".to_owned();
            } else if !matches!(phase, "Succeeded" | "Failed") {
                summary.reason = "Terminating".to_owned();
            }
        }
        summary
    }

    /// Whether an init container is still due, and the restarts of all init containers and of sidecars among them.
    fn add_init(&mut self, pod: &'a Value) -> (bool, Restarts<'a>, Restarts<'a>) {
        let sidecars = sidecars(pod);
        let (mut all, mut of_sidecars) = (Restarts::default(), Restarts::default());
        for (at, status) in list(pod, "/status/initContainerStatuses").iter().enumerate() {
            all.add(status);
            let sidecar = sidecars.contains(text(status, "/name"));
            if sidecar {
                of_sidecars.add(status);
            }
            let terminated = get(status, "/state/terminated");
            let waiting = text(status, "/state/waiting/reason");
            self.reason = match terminated {
                Some(terminated) if integer(terminated, "/exitCode").unwrap_or(0) == 0 => continue,
                _ if sidecar && flag(status, "/started") => {
                    self.ready += usize::from(flag(status, "/ready"));
                    continue;
                }
                Some(terminated) => format!("Init:{}", terminated_reason(terminated)),
                None if !waiting.is_empty() && waiting != "PodInitializing" => format!("Init:{waiting}"),
                None => format!("Init:{at}/{}", list(pod, "/spec/initContainers").len()),
            };
            return (true, all, of_sidecars);
        }
        (false, all, of_sidecars)
    }

    /// The main containers, last to first, so that the first one's trouble is what shows.
    fn add_main(&mut self, pod: &'a Value, restarts: &mut Restarts<'a>) {
        let mut has_running = false;
        for status in list(pod, "/status/containerStatuses").iter().rev() {
            restarts.add(status);
            let waiting = text(status, "/state/waiting/reason");
            if !waiting.is_empty() {
                self.reason = waiting.to_owned();
            } else if let Some(terminated) = get(status, "/state/terminated") {
                self.reason = terminated_reason(terminated);
            } else if flag(status, "/ready") && get(status, "/state/running").is_some() {
                has_running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && has_running {
            let ready = condition(pod, "Ready") == Some("True");
            self.reason = if ready { "Running" } else { "NotReady" }.to_owned();
        }
    }
}

fn first_reason(pod: &Value) -> String {
    let gated = list(pod, "/status/conditions")
        .iter()
        .any(|condition| text(condition, "/type") == "PodScheduled" && text(condition, "/reason") == "SchedulingGated");
    match text(pod, "/status/reason") {
        _ if gated => "SchedulingGated",
        "" => text(pod, "/status/phase"),
        reason => reason,
    }
    .to_owned()
}

/// The init containers that keep running beside the main ones.
fn sidecars(pod: &Value) -> BTreeSet<&str> {
    let init = list(pod, "/spec/initContainers").iter();
    let always = init.filter(|container| text(container, "/restartPolicy") == "Always");
    always.map(|container| text(container, "/name")).collect()
}

fn terminated_reason(terminated: &Value) -> String {
    match (text(terminated, "/reason"), integer(terminated, "/signal").unwrap_or(0)) {
        ("", 0) => format!("ExitCode:{}", integer(terminated, "/exitCode").unwrap_or(0)),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn condition<'a>(pod: &'a Value, kind: &str) -> Option<&'a str> {
    let found = list(pod, "/status/conditions").iter().find(|condition| text(condition, "/type") == kind);
    found.map(|condition| text(condition, "/status"))
}

fn readiness_gates(pod: &Value) -> String {
    let gates = list(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let holds = |gate: &&Value| condition(pod, text(gate, "/conditionType")) == Some("True");
    format!("{}/{}", gates.iter().filter(holds).count(), gates.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pod: &Value) -> (String, String, String) {
        let now = "2026-01-01T00:10:00Z".parse().expect("a time");
        let cells = cells(pod, now);
        let cell = |at: usize| cells[at].as_str().expect("a text cell").to_owned();
        (cell(1), cell(2), cell(3))
    }

    fn pod(status: Value) -> Value {
        json!({
            "metadata": {"name": "a"},
            "spec": {"containers": [{"name": "x"}, {"name": "y"}], "initContainers": [{"name": "i"}]},
            "status": status,
        })
    }

    fn running() -> Value {
        json!({"ready": true, "restartCount": 0, "state": {"running": {}}})
    }

    #[test]
    fn the_status_is_the_word_kubectl_shows() {
        let waiting = |reason: &str| json!({"restartCount": 2, "state": {"waiting": {"reason": reason}}});
        let ended = |terminated: Value| json!({"restartCount": 0, "state": {"terminated": terminated}});
        let cases = [
            (json!({"phase": "Pending"}), "0/2", "Pending"),
            (json!({"phase": "Failed", "reason": "Evicted"}), "0/2", "Evicted"),
            (json!({"phase": "Running", "containerStatuses": [running(), running()]}), "2/2", "Running"),
            (
                json!({"phase": "Running", "containerStatuses": [waiting("CrashLoopBackOff"), running()]}),
                "1/2",
                "CrashLoopBackOff",
            ),
            (
                json!({"phase": "Pending", "containerStatuses": [waiting("ErrImagePull"), waiting("ContainerCreating")]}),
                "0/2",
                "ErrImagePull",
            ),
            (json!({"phase": "Failed", "containerStatuses": [ended(json!({"exitCode": 3}))]}), "0/2", "ExitCode:3"),
            (
                json!({"phase": "Failed", "containerStatuses": [ended(json!({"signal": 9, "exitCode": 137}))]}),
                "0/2",
                "Signal:9",
            ),
            (
                json!({"phase": "Failed", "containerStatuses": [ended(json!({"reason": "Error", "exitCode": 1}))]}),
                "0/2",
                "Error",
            ),
            (
                json!({"phase": "Succeeded", "containerStatuses": [ended(json!({"reason": "Completed"}))]}),
                "0/2",
                "Completed",
            ),
            (
                json!({
                    "phase": "Running", "containerStatuses": [ended(json!({"reason": "Completed"})), running()],
                    "conditions": [{"type": "Ready", "status": "False"}],
                }),
                "1/2",
                "NotReady",
            ),
            (
                json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]}),
                "0/2",
                "Init:0/1",
            ),
            (
                json!({"phase": "Pending", "initContainerStatuses": [waiting("CrashLoopBackOff")]}),
                "0/2",
                "Init:CrashLoopBackOff",
            ),
            (
                json!({"phase": "Pending", "initContainerStatuses": [ended(json!({"exitCode": 2}))]}),
                "0/2",
                "Init:ExitCode:2",
            ),
            (
                json!({
                    "phase": "Pending", "initContainerStatuses": [ended(json!({"exitCode": 0}))],
                    "containerStatuses": [waiting("PodInitializing")],
                }),
                "0/2",
                "PodInitializing",
            ),
        ];
        for (status, ready, word) in cases {
            let (found_ready, found_word, _) = shown(&pod(status.clone()));
            assert_eq!((found_ready.as_str(), found_word.as_str()), (ready, word), "{status}");
        }
    }

    #[test]
    fn a_pod_that_is_deleted_is_terminating_until_it_ends() {
        let mut object = pod(json!({"phase": "Running", "containerStatuses": [running(), running()]}));
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(shown(&object).1, "Terminating");
        object["status"]["reason"] = json!("NodeLost");
        assert_eq!(shown(&object).1, "Unknown");
    }

    #[test]
    fn restarts_tell_when_the_last_one_was() {
        let restarted = |time: &str| {
            json!({
                "ready": true, "restartCount": 2, "state": {"running": {}},
                "lastState": {"terminated": {"finishedAt": time}},
            })
        };
        let statuses = [restarted("2026-01-01T00:05:00Z"), restarted("2026-01-01T00:01:00Z")];
        let object = pod(json!({"phase": "Running", "containerStatuses": statuses}));
        assert_eq!(shown(&object).2, "4 (5m ago)");
    }

    #[test]
    fn wide_cells_say_none() {
        let cells = cells(&pod(json!({"phase": "Pending"})), Timestamp::UNIX_EPOCH);
        assert_eq!(json!(cells[4..]), json!(["<unknown>", "<none>", "<none>", "<none>", "<none>"]));
    }
}
