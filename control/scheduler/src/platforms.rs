//! Which platforms images are for, as far as it is known, being asked, or could not be had. Pure: the loop asks.
//!
//! Only clusters whose nodes are of several platforms come here.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use control_api::image::Platform;
use control_client::Key;

use crate::filter::Refusal;
use crate::image::Image;
use crate::node::NodeInfo;

/// Images that are remembered; of more, those go that would be asked for again first.
const REMEMBERED_MAX: usize = 1024;
/// Questions under way at one time; more wait, each image once.
const QUESTIONS_MAX: usize = 8;
/// What a tag names may be replaced.
const TAG_KEPT: Duration = Duration::from_secs(300);
/// A registry that has no such image may get it any moment.
const UNKNOWABLE_KEPT: Duration = Duration::from_secs(30);
/// After a question without an answer; doubled by each further one.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Beyond so many doublings the back-off is at its maximum anyway.
const DOUBLINGS_MAX: u32 = 6;
/// An Event has to hold it, several times.
const WHY_CHARS_MAX: usize = 240;
/// Platforms named in an Event; of more it says how many.
const SHOWN_MAX: usize = 8;

/// An image as one pod asks for it: with other secrets the registry may answer otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lookup {
    pub image: String,
    /// Namespace, name and revision of the pod's pull secrets.
    pub secrets: Vec<(String, String, u64)>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Platforms(Vec<Platform>),
    /// There is no such image for this pod, or it does not say: the node that pulls it will tell.
    Unknowable,
    /// Nobody could say, and why.
    None(String),
}

/// A question that is to be asked now, of one of these nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub lookup: Lookup,
    pub nodes: Vec<String>,
}

#[derive(Debug)]
enum Entry {
    /// In line or under way, for these pods.
    Asking {
        pods: HashSet<Key>,
        nodes: Vec<String>,
        failures: u32,
    },
    /// No platforms: any will do.
    Known {
        platforms: Option<Vec<Platform>>,
        until: Option<Instant>,
    },
    Failed {
        why: String,
        until: Instant,
        failures: u32,
    },
}

impl Entry {
    /// When it is asked again; nothing that is being asked, and no digest, ever is.
    fn until(&self) -> Option<Instant> {
        match self {
            Self::Asking { .. } => None,
            Self::Known { until, .. } => *until,
            Self::Failed { until, .. } => Some(*until),
        }
    }
}

/// What is remembered.
#[derive(Debug, Default)]
pub struct Platforms {
    entries: HashMap<Lookup, Entry>,
    line: VecDeque<Lookup>,
    under_way: usize,
}

impl Platforms {
    /// Whether it has to be asked, or is being asked.
    pub fn is_open(&self, lookup: &Lookup, now: Instant) -> bool {
        match self.entries.get(lookup) {
            None | Some(Entry::Asking { .. }) => true,
            Some(entry) => entry.until().is_some_and(|until| until <= now),
        }
    }

    /// `pod` waits for the answer; one of `nodes` is to be asked.
    pub fn want(&mut self, lookup: &Lookup, pod: Key, nodes: &[String]) {
        let failures = match self.entries.get_mut(lookup) {
            Some(Entry::Asking { pods, .. }) => {
                pods.insert(pod);
                return;
            }
            Some(Entry::Failed { failures, .. }) => *failures,
            _ => 0,
        };
        self.make_room();
        let pods = HashSet::from([pod]);
        let mut nodes = nodes.to_vec();
        if !nodes.is_empty() {
            // Another one than last time.
            let turn = failures as usize % nodes.len();
            nodes.rotate_left(turn);
        }
        self.entries.insert(lookup.clone(), Entry::Asking { pods, nodes, failures });
        self.line.push_back(lookup.clone());
    }

    /// The next question, while not too many are under way.
    pub fn take_question(&mut self) -> Option<Question> {
        if self.under_way >= QUESTIONS_MAX {
            return None;
        }
        let lookup = self.line.pop_front()?;
        let Some(Entry::Asking { nodes, .. }) = self.entries.get(&lookup) else { return None };
        self.under_way += 1;
        Some(Question { nodes: nodes.clone(), lookup })
    }

    /// Takes an answer; the pods that waited for it.
    pub fn answer(&mut self, lookup: Lookup, answer: Answer, now: Instant) -> Vec<Key> {
        self.under_way = self.under_way.saturating_sub(1);
        let Some(Entry::Asking { pods, failures, .. }) = self.entries.remove(&lookup) else { return Vec::new() };
        let pinned = lookup.image.contains('@');
        let entry = match answer {
            Answer::Platforms(platforms) => {
                Entry::Known { platforms: Some(platforms), until: (!pinned).then(|| now + TAG_KEPT) }
            }
            Answer::Unknowable => Entry::Known { platforms: None, until: Some(now + UNKNOWABLE_KEPT) },
            Answer::None(why) => {
                let why = why.chars().take(WHY_CHARS_MAX).collect();
                Entry::Failed { why, until: now + backoff(failures), failures: failures.saturating_add(1) }
            }
        };
        self.entries.insert(lookup, entry);
        pods.into_iter().collect()
    }

    /// When the first of these is asked again; what could be asked by now is not worth a wait.
    pub fn next_look<'a>(&self, lookups: impl Iterator<Item = &'a Lookup>, now: Instant) -> Option<Instant> {
        lookups.filter_map(|lookup| self.entries.get(lookup)?.until()).filter(|until| *until > now).min()
    }

    /// Why the node is out of the question for an image. What it holds, it runs.
    pub fn refusal(&self, image: &Image, lookup: &Lookup, node: &NodeInfo) -> Option<Refusal> {
        let machine = node.platform.as_ref()?;
        if node.held.has(image) {
            return None;
        }
        let unknown = |why: &str| Some(Refusal::PlatformsUnknown { image: image.shown.clone(), why: why.to_owned() });
        match self.entries.get(lookup) {
            Some(Entry::Known { platforms: None, .. }) => None,
            Some(Entry::Known { platforms: Some(platforms), .. }) => {
                let runs = platforms.iter().any(|platform| machine.runs(platform));
                let lacks = || Refusal::Platform { image: image.shown.clone(), platforms: shown(platforms) };
                (!runs).then(lacks)
            }
            Some(Entry::Failed { why, .. }) => unknown(why),
            Some(Entry::Asking { .. }) | None => unknown("the registry has not answered yet"),
        }
    }

    fn make_room(&mut self) {
        while self.entries.len() >= REMEMBERED_MAX {
            let settled = self.entries.iter().filter(|(_, entry)| !matches!(entry, Entry::Asking { .. }));
            // Digests, which are never asked again, go last.
            let first = settled.min_by_key(|(_, entry)| (entry.until().is_none(), entry.until()));
            let Some(first) = first.map(|(lookup, _)| lookup.clone()) else { return };
            self.entries.remove(&first);
        }
    }
}

fn backoff(failures: u32) -> Duration {
    BACKOFF_MIN.saturating_mul(1 << failures.min(DOUBLINGS_MAX)).min(BACKOFF_MAX)
}

fn shown(platforms: &[Platform]) -> String {
    let mut named: Vec<String> = platforms.iter().take(SHOWN_MAX).map(Platform::to_string).collect();
    if platforms.len() > SHOWN_MAX {
        named.push(format!("{} more", platforms.len() - SHOWN_MAX));
    }
    named.join(", ")
}
