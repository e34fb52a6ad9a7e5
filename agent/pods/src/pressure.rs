//! When a node is short of what its pods share: Kubernetes' signals, thresholds and conditions. Pure.

use std::collections::BTreeMap;

use control_api::quantity::Quantity;
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

impl Signal {
    /// What there is too little of, by the kubelet's word.
    pub fn resource(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::DiskSpace => "ephemeral-storage",
            Self::Inodes => "inodes",
            Self::Pids => "pids",
        }
    }

    pub fn is_of_disk(self) -> bool {
        matches!(self, Self::DiskSpace | Self::Inodes)
    }

    /// So much of it, as the kubelet writes it.
    pub fn amount(self, number: u64) -> Quantity {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        match self {
            Self::Memory | Self::DiskSpace => Quantity::from_bytes(number),
            Self::Inodes | Self::Pids => Quantity::from_units(number),
        }
    }
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
enum Least {
    Amount(Quantity),
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
pub struct Thresholds(BTreeMap<Signal, Least>);

impl Thresholds {
    /// Kubernetes' own, of a machine with so much memory: on a small board its 100 MiB would be most of what there is.
    fn defaults(memory_bytes: u64) -> Self {
        Self(BTreeMap::from([
            (Signal::Memory, Least::Amount(Signal::Memory.amount(MEMORY_BYTES_MIN.min(memory_bytes / 10)))),
            (Signal::DiskSpace, Least::Percent(10)),
            (Signal::Inodes, Least::Percent(5)),
        ]))
    }

    /// The defaults, and over them what is told as in Kubernetes' `evictionHard`.
    pub fn with(told: &BTreeMap<String, String>, memory_bytes: u64) -> Result<Self, ThresholdError> {
        let mut all = Self::defaults(memory_bytes);
        for (name, value) in told {
            let signal = SIGNALS.iter().find(|(known, _)| known == name);
            let (_, signal) = signal.ok_or_else(|| ThresholdError::Signal(name.clone()))?;
            let wrong = || ThresholdError::Quantity { signal: name.clone(), value: value.clone() };
            all.0.insert(*signal, least(value).ok_or_else(wrong)?);
        }
        Ok(all)
    }

    /// What of `room` is to be free at least; None where nothing is.
    pub fn least(&self, signal: Signal, room: Room) -> Option<Quantity> {
        match self.0.get(&signal)? {
            Least::Amount(amount) => Some(*amount),
            Least::Percent(percent) => {
                let share = u128::from(room.whole) * u128::from(*percent) / 100;
                let share = i64::try_from(share).unwrap_or(i64::MAX);
                // As the kubelet has it, of inodes and process numbers too.
                Some(Quantity::from_bytes(share))
            }
        }
    }

    pub fn is_met(&self, signal: Signal, room: Room) -> bool {
        self.least(signal, room).is_some_and(|least| least > signal.amount(room.free))
    }
}

fn least(text: &str) -> Option<Least> {
    if let Some(percent) = text.strip_suffix('%') {
        return percent.parse().ok().filter(|percent| *percent <= 100).map(Least::Percent);
    }
    let amount = Quantity::parse(text).ok()?;
    (!amount.is_negative()).then_some(Least::Amount(amount))
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
        let least = |signal, whole| thresholds.least(signal, Room { free: 0, whole }).unwrap().to_string();
        assert_eq!(
            (least(Signal::Memory, 1), least(Signal::DiskSpace, 64 << 20)),
            ("1Gi".to_owned(), "6710886".to_owned())
        );
        assert!(thresholds.is_met(Signal::DiskSpace, Room { free: 9, whole: 100 }), "others keep their default");
        let refused = |name: &str, value| Thresholds::with(&told(&[(name, value)]), 0).unwrap_err().to_string();
        assert!(refused("imagefs.available", "15%").starts_with("unknown eviction signal imagefs.available"));
        for value in ["", "a lot", "101%", "-1", "%"] {
            assert!(refused("nodefs.available", value).contains("nodefs.available"), "{value}");
        }
    }

    #[test]
    fn a_share_of_nothing_is_nothing() {
        assert_eq!(Room { free: 0, whole: 0 }.used_percent(), 0);
        assert_eq!(Room { free: 14, whole: 100 }.used_percent(), 86);
    }
}
