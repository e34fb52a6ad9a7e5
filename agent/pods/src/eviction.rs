//! Which pod has to go where a node is short of something, and in what words it is told. Pure.

use std::cmp::Reverse;
use std::fmt::Write;

use control_api::quantity::Quantity;

use crate::pressure::{Room, Signal};

/// A pod that could make room: what it takes of what is short, and what it asked for, in bytes or pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub uid: String,
    pub priority: i64,
    pub used: u64,
    pub requested: u64,
}

impl Candidate {
    fn over_request(&self) -> i128 {
        i128::from(self.used) - i128::from(self.requested)
    }
}

/// The one to go, as the kubelet ranks them: who uses more than was asked for, the least important of those, and of
/// equals who is furthest above. Nobody asks for inodes or process numbers, so that there the least important goes.
pub fn first_to_go(pods: &[Candidate]) -> Option<&Candidate> {
    pods.iter().max_by_key(|pod| (pod.over_request() > 0, Reverse(pod.priority), pod.over_request()))
}

/// A container's part of what its pod takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    pub container: String,
    pub used_bytes: u64,
    pub requested: Option<Quantity>,
}

/// What the pod's status and the Event say, as the kubelet words it; `least` is what was to be free.
pub fn message(signal: Signal, least: &Quantity, room: Room, shares: &[Share]) -> String {
    let (resource, available) = (signal.resource(), signal.amount(room.free));
    let mut message =
        format!("The node was low on resource: {resource}. Threshold quantity: {least}, available: {available}. ");
    for share in shares {
        let (used, requested) = (signal.amount(share.used_bytes), share.requested.unwrap_or(Quantity::ZERO));
        if used > requested {
            let container = &share.container;
            let _ = write!(
                message,
                "Container {container} was using {used}, request is {requested}, has larger consumption of {resource}. "
            );
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_uses_more_than_was_asked_for_goes_first_and_the_important_last() {
        let pod = |uid: &str, priority, used, requested| Candidate { uid: uid.to_owned(), priority, used, requested };
        let mut pods = vec![pod("modest", 0, 50, 100), pod("greedy", 0, 90, 10), pod("greedier", 0, 200, 10)];
        pods.push(pod("important", 1000, 900, 10));
        let mut order = Vec::new();
        while let Some(next) = first_to_go(&pods).map(|pod| pod.uid.clone()) {
            pods.retain(|pod| pod.uid != next);
            order.push(next);
        }
        assert_eq!(order, ["greedier", "greedy", "important", "modest"]);
    }

    #[test]
    fn the_words_are_the_kubelets() {
        let share = |container: &str, used_bytes, requested: Option<&str>| Share {
            container: container.to_owned(),
            used_bytes,
            requested: requested.map(|text| Quantity::parse(text).unwrap()),
        };
        let shares =
            [share("web", 5 << 20, None), share("log", 1 << 20, Some("1Mi")), share("db", 3 << 20, Some("2M"))];
        let least = Quantity::from_bytes(100 << 20);
        let room = Room { free: 4096, whole: 1 << 30 };
        assert_eq!(
            message(Signal::DiskSpace, &least, room, &shares),
            "The node was low on resource: ephemeral-storage. Threshold quantity: 100Mi, available: 4Ki. \
             Container web was using 5Mi, request is 0, has larger consumption of ephemeral-storage. \
             Container db was using 3Mi, request is 2M, has larger consumption of ephemeral-storage. "
        );
        assert_eq!(
            message(Signal::Pids, &Quantity::from_units(1000), Room { free: 12, whole: 32768 }, &[]),
            "The node was low on resource: pids. Threshold quantity: 1k, available: 12. "
        );
    }
}
