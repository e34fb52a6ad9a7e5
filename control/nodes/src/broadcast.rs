//! What every node is told, kept once for all of them: the newest version of each object in the order of their changes,
//! and of each node no more than a position in it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use control_store::Object;
use tokio::sync::{Semaphore, watch};

use crate::desired::Reference;

/// Deletions that are remembered for nodes that come back; one that missed more is told everything.
const GONE_MAX: usize = 1024;
/// Nodes that are told everything at one time: what is on its way to each is memory.
const RESETS_MAX: usize = 16;

/// One object as it is now.
#[derive(Debug, Clone)]
pub struct Entry {
    pub number: u64,
    /// Of the change that made it so.
    pub revision: u64,
    pub reference: Reference,
    /// `None`: it is gone.
    pub object: Option<Arc<Object>>,
}

/// How far nodes are to be told.
#[derive(Debug, Clone, Copy, Default)]
pub struct Head {
    /// The last entry.
    pub number: u64,
    /// Every change up to this revision is among the entries.
    pub position: u64,
}

#[derive(Default)]
struct Told {
    last: u64,
    entries: BTreeMap<u64, Entry>,
    numbers: HashMap<Reference, u64>,
    gone: BTreeSet<u64>,
    /// Deletions up to this revision are forgotten.
    complete_after: u64,
}

/// Filled by the dispatcher, read by every session.
pub struct Broadcast {
    told: Mutex<Told>,
    head: watch::Sender<Head>,
    /// Turns of those who are told everything.
    pub resets: Semaphore,
}

impl Default for Broadcast {
    fn default() -> Self {
        Self { told: Mutex::default(), head: watch::Sender::default(), resets: Semaphore::new(RESETS_MAX) }
    }
}

impl Broadcast {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins anew with these objects, which are all there are at `revision`. Every node has to be told everything.
    pub fn restart(&self, objects: impl IntoIterator<Item = Arc<Object>>, revision: u64) {
        let mut told = self.told();
        // Numbers go on: positions of before are behind all of them.
        *told = Told { last: told.last, complete_after: revision, ..Told::default() };
        for object in objects {
            told.set(Reference::of(&object), Some(object), revision);
        }
    }

    /// The object was changed, or is gone, as of `revision`. Nodes are told at the next `publish`.
    pub fn set(&self, reference: Reference, object: Option<Arc<Object>>, revision: u64) {
        self.told().set(reference, object, revision);
    }

    /// The last entry's number, told or not.
    pub fn last(&self) -> u64 {
        self.told().last
    }

    /// Whether a node that has everything up to `since` can be told the rest alone.
    pub fn reaches_back_to(&self, since: u64) -> bool {
        since >= self.told().complete_after
    }

    /// Lets every session send what was set so far, which is all up to `position`.
    pub fn publish(&self, position: u64) {
        let number = self.last();
        self.head.send_replace(Head { number, position });
    }

    pub fn follow(&self) -> watch::Receiver<Head> {
        self.head.subscribe()
    }

    /// The first entry after `number`, not beyond `last`.
    pub fn next(&self, number: u64, last: u64) -> Option<Entry> {
        if number >= last {
            return None;
        }
        self.told().entries.range(number + 1..=last).next().map(|(_, entry)| entry.clone())
    }
}

impl Told {
    fn set(&mut self, reference: Reference, object: Option<Arc<Object>>, revision: u64) {
        self.last += 1;
        let number = self.last;
        if let Some(old) = self.numbers.insert(reference.clone(), number) {
            self.entries.remove(&old);
            self.gone.remove(&old);
        }
        if object.is_none() {
            self.gone.insert(number);
        }
        self.entries.insert(number, Entry { number, revision, reference, object });
        if self.gone.len() > GONE_MAX
            && let Some(oldest) = self.gone.pop_first()
            && let Some(entry) = self.entries.remove(&oldest)
        {
            self.numbers.remove(&entry.reference);
            self.complete_after = self.complete_after.max(entry.revision);
        }
    }
}

#[cfg(test)]
mod tests {
    use control_api::resource::NAMESPACES;
    use control_store::Key;

    use super::*;

    fn object(name: &str) -> Arc<Object> {
        let meta = control_api::Meta { name: name.to_owned(), ..control_api::Meta::default() };
        Arc::new(Object { key: Key::new(&NAMESPACES, "", name), revision: 1, json: "{}".into(), meta })
    }

    fn put(broadcast: &Broadcast, name: &str, revision: u64) {
        broadcast.set(Reference::of(&object(name)), Some(object(name)), revision);
    }

    fn names(broadcast: &Broadcast, mut after: u64) -> Vec<String> {
        let mut found = Vec::new();
        while let Some(entry) = broadcast.next(after, broadcast.last()) {
            after = entry.number;
            let mark = if entry.object.is_some() { "" } else { "-" };
            found.push(format!("{mark}{}", entry.reference.name));
        }
        found
    }

    #[test]
    fn an_object_is_told_once_in_its_newest_version() {
        let broadcast = Broadcast::default();
        for (name, revision) in [("a", 1), ("b", 2), ("a", 3)] {
            put(&broadcast, name, revision);
        }
        assert_eq!(names(&broadcast, 0), ["b", "a"]);
        assert_eq!(names(&broadcast, 2), ["a"]);
        broadcast.set(Reference::of(&object("b")), None, 4);
        assert_eq!(names(&broadcast, 0), ["a", "-b"]);
        put(&broadcast, "b", 5);
        assert_eq!(names(&broadcast, 3), ["b"]);
    }

    #[test]
    fn who_missed_forgotten_deletions_is_told_everything() {
        let broadcast = Broadcast::default();
        broadcast.restart([object("a")], 7);
        assert!(broadcast.reaches_back_to(7) && !broadcast.reaches_back_to(6));
        for number in 0..=GONE_MAX as u64 {
            broadcast.set(Reference::of(&object(&format!("n{number}"))), None, 8 + number);
        }
        assert!(broadcast.reaches_back_to(8) && !broadcast.reaches_back_to(7));
        assert_eq!(names(&broadcast, 0).len(), 1 + GONE_MAX);
    }
}
