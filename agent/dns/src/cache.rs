//! Upstreams' answers, kept as long as they say; what is not there too (RFC 2308).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::message::{Answer, Data, Name, Query, Record, flag, rcode};

const ENTRIES_MAX: usize = 4096;
/// As counted by [`size`].
const BYTES_MAX: usize = 2 << 20;
/// Nothing is believed for longer than this, whatever it says.
const TTL_SECONDS_MAX: u32 = 3600;
/// A name that is not there may be there soon.
const NEGATIVE_TTL_SECONDS_MAX: u32 = 60;

/// What makes two questions the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    name: Name,
    kind: u16,
    class: u16,
    dnssec: bool,
    unchecked: bool,
}

/// An answer, and when it came: its times run from then.
#[derive(Debug)]
pub struct Kept {
    pub answer: Answer,
    pub since: Instant,
}

#[derive(Debug, Default)]
pub struct Cache {
    entries: HashMap<Key, Entry>,
    /// By when they end; the first goes first, too when there is no room.
    ends: BTreeMap<(Instant, u64), Key>,
    serial: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    kept: Arc<Kept>,
    end: (Instant, u64),
    bytes: usize,
}

impl Key {
    pub fn of(query: &Query) -> Self {
        Self {
            name: query.name.clone(),
            kind: query.kind,
            class: query.class,
            dnssec: query.edns.is_some_and(|edns| edns.dnssec),
            unchecked: query.flags & flag::CHECKING_DISABLED != 0,
        }
    }
}

impl Kept {
    pub fn new(answer: Answer) -> Self {
        Self { answer, since: Instant::now() }
    }

    /// The record's remaining time.
    pub fn ttl_seconds(&self, record: &Record) -> u32 {
        let age = u32::try_from(self.since.elapsed().as_secs()).unwrap_or(u32::MAX);
        record.ttl_seconds.saturating_sub(age)
    }
}

impl Cache {
    pub fn get(&mut self, key: &Key, now: Instant) -> Option<Arc<Kept>> {
        let entry = self.entries.get(key)?;
        if entry.end.0 > now {
            return Some(entry.kept.clone());
        }
        self.remove(&key.clone());
        None
    }

    pub fn put(&mut self, key: Key, kept: Arc<Kept>) {
        self.remove(&key);
        let bytes = size(&kept.answer) + key.name.wire().len();
        let Some(ttl_seconds) = ttl_seconds(&kept.answer).filter(|ttl| *ttl > 0 && bytes <= BYTES_MAX / 16) else {
            return;
        };
        while self.entries.len() >= ENTRIES_MAX || self.bytes + bytes > BYTES_MAX {
            let Some((_, first)) = self.ends.first_key_value() else { break };
            self.remove(&first.clone());
        }
        self.serial += 1;
        let end = (kept.since + Duration::from_secs(u64::from(ttl_seconds)), self.serial);
        self.ends.insert(end, key.clone());
        self.bytes += bytes;
        self.entries.insert(key, Entry { kept, end, bytes });
    }

    pub fn clear(&mut self) {
        *self = Self { serial: self.serial, ..Self::default() };
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.ends.remove(&entry.end);
            self.bytes -= entry.bytes;
        }
    }
}

/// How long an answer may be kept; none where it may not.
fn ttl_seconds(answer: &Answer) -> Option<u32> {
    let exists = answer.rcode == rcode::NO_ERROR && !answer.answers.is_empty();
    if exists {
        return answer.records().map(|record| record.ttl_seconds).min().map(|ttl| ttl.min(TTL_SECONDS_MAX));
    }
    if answer.rcode != rcode::NO_ERROR && answer.rcode != rcode::NO_SUCH_NAME {
        return None;
    }
    let said = answer.authorities.iter().find_map(Record::negative_ttl_seconds)?;
    let shortest = answer.records().map(|record| record.ttl_seconds).min().unwrap_or(said);
    Some(said.min(shortest).min(NEGATIVE_TTL_SECONDS_MAX))
}

/// About what an answer takes in memory.
fn size(answer: &Answer) -> usize {
    let data = |record: &Record| match &record.data {
        Data::Raw(bytes) => bytes.len(),
        Data::Named { before, names, after } => {
            before.len() + after.len() + names.iter().map(|name| name.wire().len() + 32).sum::<usize>()
        }
    };
    answer.records().map(|record| record.name.wire().len() + data(record) + 128).sum::<usize>() + 256
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{class, kind};

    fn query(name: &str) -> Query {
        let name = Name::parse(name).expect("a name");
        Query { id: 1, flags: 0, name, kind: kind::A, class: class::IN, edns: None }
    }

    fn answer(name: &str, ttl_seconds: u32) -> Arc<Kept> {
        let record = Record::address(&Name::parse(name).expect("a name"), ttl_seconds, [192, 0, 2, 1].into());
        Arc::new(Kept::new(Answer { answers: vec![record], ..Answer::of(rcode::NO_ERROR) }))
    }

    #[test]
    fn an_answer_ends_with_its_time_and_one_without_time_is_not_kept() {
        let mut cache = Cache::default();
        let key = Key::of(&query("a.example"));
        cache.put(key.clone(), answer("a.example", 30));
        let now = Instant::now();
        assert!(cache.get(&Key::of(&query("A.Example")), now).is_some());
        assert!(cache.get(&key, now + Duration::from_secs(31)).is_none());
        cache.put(key.clone(), answer("a.example", 0));
        assert!(cache.get(&key, now).is_none());
        assert_eq!(cache.bytes, 0);
    }

    #[test]
    fn what_is_not_there_is_remembered_only_if_an_authority_says_for_how_long() {
        let mut none = Answer::of(rcode::NO_SUCH_NAME);
        assert_eq!(ttl_seconds(&none), None);
        let name = Name::parse("example").expect("a name");
        none.authorities.push(Record::authority(&name, 20, name.clone(), name.clone(), 1));
        assert_eq!(ttl_seconds(&none), Some(20));
        assert_eq!(ttl_seconds(&Answer { rcode: rcode::SERVER_FAILURE, ..none }), None);
    }

    #[test]
    fn the_number_of_entries_is_bounded_and_the_first_to_end_goes() {
        let mut cache = Cache::default();
        for number in 0..=ENTRIES_MAX {
            let name = format!("n{number}.example");
            cache.put(Key::of(&query(&name)), answer(&name, if number == 0 { 1 } else { 300 }));
        }
        assert_eq!(cache.entries.len(), ENTRIES_MAX);
        assert!(cache.get(&Key::of(&query("n0.example")), Instant::now()).is_none());
    }
}
