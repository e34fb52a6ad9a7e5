//! When a node is short of what its pods share: Kubernetes' signals, thresholds and conditions. Pure.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

/// So long a condition outlives its cause, so that pods are not sent to and fro.
const TRANSITION: SignedDuration = SignedDuration::from_mins(5);
/// Or a tenth of all memory, where that is less.
const MEMORY_BYTES_MIN: u64 = 100 << 20;
const SIGNALS: [(&str, Signal); 4] = [
    ("memory.available", Signal::Memory),
    ("nodefs.available", Signal::DiskSpace),
    ("nodefs.inodesFree", Signal::Inodes),
    ("pid.available", Signal::Pids),
];

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    Memory,
    DiskSpace,
    Inodes,
    Pids,
}

/// Free and whole, in bytes or pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub free: u64,
    pub whole: u64,
}

impl Room {
    /// Rounded down.
    pub fn used_percent(&self) -> u64 {
        let used = self.whole.saturating_sub(self.free);
        used.saturating_mul(100).checked_div(self.whole).unwrap_or(0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantity {
    Amount(u64),
    Percent(u64),
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ThresholdError {
    #[error(
        "unknown eviction signal {0}: it is one of memory.available, nodefs.available, nodefs.inodesFree, pid.available"
    )]
    Signal(String),
    #[error("{signal}: {value:?} is neither a quantity such as 50Mi nor a percentage such as 10%")]
    Quantity { signal: String, value: String },
}

/// Below which a signal means pressure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thresholds(BTreeMap<Signal, Quantity>);

impl Thresholds {
    /// Kubernetes' own, of a machine with so much memory: on a small board its 100 MiB would be most of what there is.
    fn defaults(memory_bytes: u64) -> Self {
        Self(BTreeMap::from([
            (Signal::Memory, Quantity::Amount(MEMORY_BYTES_MIN.min(memory_bytes / 10))),
            (Signal::DiskSpace, Quantity::Percent(10)),
            (Signal::Inodes, Quantity::Percent(5)),
        ]))
    }

    /// The defaults, and over them what is told as in Kubernetes' `evictionHard`.
    pub fn with(told: &BTreeMap<String, String>, memory_bytes: u64) -> Result<Self, ThresholdError> {
        let mut all = Self::defaults(memory_bytes);
        for (name, value) in told {
            let signal = SIGNALS.iter().find(|(known, _)| known == name);
            let (_, signal) = signal.ok_or_else(|| ThresholdError::Signal(name.clone()))?;
            let wrong = || ThresholdError::Quantity { signal: name.clone(), value: value.clone() };
            all.0.insert(*signal, quantity(value).ok_or_else(wrong)?);
        }
        Ok(all)
    }

    /// The least memory that is to be free, in the words that it was asked for.
    pub fn least_memory(&self) -> String {
        match self.0.get(&Signal::Memory) {
            Some(Quantity::Amount(bytes)) => {
                control_api::quantity::Quantity::from_bytes(i64::try_from(*bytes).unwrap_or(i64::MAX)).to_string()
            }
            Some(Quantity::Percent(percent)) => format!("{percent}%"),
            None => "0".to_owned(),
        }
    }

    pub fn is_met(&self, signal: Signal, room: Room) -> bool {
        match self.0.get(&signal) {
            Some(Quantity::Amount(least)) => room.free < *least,
            Some(Quantity::Percent(least)) => u128::from(room.free) * 100 < u128::from(room.whole) * u128::from(*least),
            None => false,
        }
    }
}

fn quantity(text: &str) -> Option<Quantity> {
    if let Some(percent) = text.strip_suffix('%') {
        return percent.parse().ok().filter(|percent| *percent <= 100).map(Quantity::Percent);
    }
    let amount = control_api::quantity::Quantity::parse(text).ok()?;
    u64::try_from(amount.units()).ok().map(Quantity::Amount)
}

/// What a Node's conditions say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pressure {
    pub memory: bool,
    pub disk: bool,
    pub pids: bool,
}

/// Remembers when each threshold was last met.
#[derive(Debug, Default)]
pub struct Gauge {
    met: BTreeMap<Signal, Timestamp>,
}

impl Gauge {
    /// What is so at `now`; a signal that could not be measured is not there.
    pub fn observe(&mut self, thresholds: &Thresholds, rooms: &[(Signal, Room)], now: Timestamp) -> Pressure {
        for (signal, room) in rooms {
            if thresholds.is_met(*signal, *room) {
                self.met.insert(*signal, now);
            }
        }
        // A clock that was set back must not hold a condition for longer.
        self.met.retain(|_, at| now.duration_since(*at).abs() < TRANSITION);
        let holds = |signal| self.met.contains_key(&signal);
        Pressure {
            memory: holds(Signal::Memory),
            disk: holds(Signal::DiskSpace) || holds(Signal::Inodes),
            pids: holds(Signal::Pids),
        }
    }
}

/// A pod that could make room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub uid: String,
    /// Static pods and those of the system's own classes stay.
    pub critical: bool,
    pub priority: i64,
    pub memory_used_bytes: i64,
    pub memory_requested_bytes: i64,
}

impl Candidate {
    fn over_request_bytes(&self) -> i64 {
        self.memory_used_bytes.saturating_sub(self.memory_requested_bytes)
    }
}

/// The one to go for lack of memory, as the kubelet ranks them: who uses more than was asked for, the least important of
/// those, and of equals who is furthest above.
pub fn first_to_go(pods: &[Candidate]) -> Option<&Candidate> {
    let pods = pods.iter().filter(|pod| !pod.critical);
    pods.max_by_key(|pod| (pod.over_request_bytes() > 0, std::cmp::Reverse(pod.priority), pod.over_request_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_condition_comes_below_its_threshold_and_outlives_its_cause_by_five_minutes() {
        let (mut gauge, thresholds) = (Gauge::default(), Thresholds::defaults(500 << 20));
        let at = |second| Timestamp::from_second(second).unwrap();
        let disk =
            |free| [(Signal::DiskSpace, Room { free, whole: 1000 }), (Signal::Inodes, Room { free: 9, whole: 10 })];
        assert_eq!(gauge.observe(&thresholds, &disk(100), at(0)), Pressure::default());
        let short = Pressure { disk: true, ..Pressure::default() };
        assert_eq!(gauge.observe(&thresholds, &disk(99), at(10)), short);
        assert_eq!(gauge.observe(&thresholds, &disk(500), at(309)), short);
        assert_eq!(gauge.observe(&thresholds, &disk(500), at(310)), Pressure::default());
        assert_eq!(
            gauge.observe(&thresholds, &[(Signal::Pids, Room { free: 0, whole: 9 })], at(400)),
            Pressure::default()
        );
        let memory = [(Signal::Memory, Room { free: (50 << 20) - 1, whole: 1 << 29 })];
        assert!(gauge.observe(&thresholds, &memory, at(500)).memory);
        assert!(!gauge.observe(&thresholds, &[], at(-5000)).memory, "a clock that was set back");
    }

    #[test]
    fn thresholds_are_kubernetes_words_and_wrong_ones_are_named() {
        let thresholds = Thresholds::with(&told(&[("memory.available", "1Gi"), ("pid.available", "50%")]), 0).unwrap();
        assert!(thresholds.is_met(Signal::Memory, Room { free: 1 << 29, whole: 1 << 30 }));
        assert!(thresholds.is_met(Signal::Pids, Room { free: 49, whole: 100 }));
        assert!(thresholds.is_met(Signal::DiskSpace, Room { free: 9, whole: 100 }), "others keep their default");
        let refused = |name: &str, value| Thresholds::with(&told(&[(name, value)]), 0).unwrap_err().to_string();
        assert!(refused("imagefs.available", "15%").starts_with("unknown eviction signal imagefs.available"));
        for value in ["", "a lot", "101%", "-1", "%"] {
            assert!(refused("nodefs.available", value).contains("nodefs.available"), "{value}");
        }
    }

    #[test]
    fn who_uses_more_than_was_asked_for_goes_first_and_the_important_last() {
        let pod = |uid: &str, priority, used, requested| Candidate {
            uid: uid.to_owned(),
            critical: false,
            priority,
            memory_used_bytes: used,
            memory_requested_bytes: requested,
        };
        let mut pods = vec![pod("modest", 0, 50, 100), pod("greedy", 0, 90, 10), pod("greedier", 0, 200, 10)];
        pods.extend([pod("important", 1000, 900, 10), Candidate { critical: true, ..pod("proxy", 0, 9000, 0) }]);
        let mut order = Vec::new();
        while let Some(next) = first_to_go(&pods).map(|pod| pod.uid.clone()) {
            pods.retain(|pod| pod.uid != next);
            order.push(next);
        }
        assert_eq!(order, ["greedier", "greedy", "important", "modest"]);
    }

    #[test]
    fn a_share_of_nothing_is_nothing() {
        assert_eq!(Room { free: 0, whole: 0 }.used_percent(), 0);
        assert_eq!(Room { free: 14, whole: 100 }.used_percent(), 86);
    }
}
