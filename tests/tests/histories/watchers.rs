//! What lists and watches tell: one order of events, from which every list follows.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Result, bail};
use serde_json::Value;
use tests::linear::{Action, Operation, Outcome};

use crate::client::{Access, Watch};
use crate::clients::{CONFIG_MAPS, version};

/// Names to their values and revisions.
type Contents = BTreeMap<String, (u64, u64)>;

#[derive(Debug, Clone)]
pub struct List {
    pub revision: u64,
    contents: Contents,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Event {
    kind: String,
    name: String,
    value: u64,
}

/// What one watch told from one list on: the state after each of its events, by revision.
#[derive(Debug)]
struct Told {
    from: u64,
    /// It told everything up to here.
    through: u64,
    states: BTreeMap<u64, Contents>,
}

#[derive(Default)]
struct Parts {
    /// All that any watch told, by revision.
    events: BTreeMap<u64, Event>,
    told: Vec<Told>,
    /// Lists, and when they were called and answered.
    lists: Vec<(List, u64, u64)>,
}

/// What was told in one history.
#[derive(Default)]
pub struct Story(Mutex<Parts>);

impl Story {
    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn len(&self) -> usize {
        self.parts().events.len()
    }

    pub async fn list(&self, access: &Access) -> Result<List> {
        let body: Value = serde_json::from_slice(&access.connect().await?.get(CONFIG_MAPS).await?)?;
        let items = body["items"].as_array().unwrap();
        let named = |item: &Value| (item["metadata"]["name"].as_str().unwrap().to_owned(), version(item));
        Ok(List { revision: version(&body).1, contents: items.iter().map(named).collect() })
    }

    pub fn remember(&self, list: List, called: u64, answered: u64) {
        self.parts().lists.push((list, called, answered));
    }

    /// Lists as reads of each key, for the checker.
    pub fn reads(&self, operations: &[Operation]) -> Vec<Operation> {
        let keys: std::collections::BTreeSet<&String> = operations.iter().map(|operation| &operation.key).collect();
        let parts = self.parts();
        let read = |(list, called, answered): &(List, u64, u64)| {
            let found = |key: &&String| match list.contents.get(*key) {
                Some((value, revision)) => Outcome::Found { value: *value, revision: *revision },
                None => Outcome::Missing,
            };
            let operation = |key: &&String| Operation {
                key: (*key).clone(),
                action: Action::Get,
                outcome: found(key),
                called: *called,
                answered: *answered,
            };
            keys.iter().map(operation).collect::<Vec<_>>()
        };
        parts.lists.iter().flat_map(read).collect()
    }

    /// Every acknowledged write that a watch was there for was told by it, and every list in its time is its state.
    pub fn holds(&self, operations: &[Operation]) {
        let parts = self.parts();
        for told in &parts.told {
            for operation in operations {
                let Outcome::Done(Some(revision)) = operation.outcome else { continue };
                if revision > told.from && revision <= told.through {
                    assert!(told.states.contains_key(&revision), "{operation:?} was never told by {told:?}");
                }
            }
            for (list, ..) in &parts.lists {
                if list.revision >= told.from && list.revision <= told.through {
                    let (_, state) = told.states.range(..=list.revision).next_back().unwrap();
                    assert_eq!(*state, list.contents, "the list at {} is not what a watch told", list.revision);
                }
            }
        }
    }

    /// Events of a watch, joined with what others told; all must agree.
    fn hear(&self, revision: u64, event: &Event) {
        let mut parts = self.parts();
        let first = parts.events.entry(revision).or_insert_with(|| event.clone());
        assert_eq!(first, event, "two watches tell different things of {revision}");
    }

    /// A watch from any revision tells exactly what others told from there on, or that it cannot.
    pub async fn watch_from(&self, access: &Access, from: u64, last: u64) -> bool {
        let mut heard = BTreeMap::new();
        let mut watch = watch(access, from).await.unwrap();
        loop {
            let (revision, event) = match next(&mut watch).await.unwrap() {
                Next::Event(revision, event) => (revision, event),
                Next::Expired => return false,
            };
            assert!(revision > from, "a watch from {from} tells {revision}");
            self.hear(revision, &event);
            heard.insert(revision, event);
            if revision >= last {
                break;
            }
        }
        let others: BTreeMap<u64, Event> =
            self.parts().events.range(from + 1..=last).map(|(revision, event)| (*revision, event.clone())).collect();
        assert_eq!(heard, others, "a watch from {from} skips something");
        true
    }
}

enum Next {
    Event(u64, Event),
    Expired,
}

async fn watch(access: &Access, from: u64) -> Result<Watch> {
    access.connect().await?.watch(&format!("{CONFIG_MAPS}?watch=true&resourceVersion={from}")).await
}

async fn next(watch: &mut Watch) -> Result<Next> {
    let line = watch.next().await?;
    let object = &line["object"];
    if line["type"] == "ERROR" {
        if object["code"] == 410 {
            return Ok(Next::Expired);
        }
        bail!("the watch failed: {object}");
    }
    let (value, revision) = version(object);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Ok(Next::Event(revision, Event { kind: text(&line["type"]), name: text(&object["metadata"]["name"]), value }))
}

/// Follows from a list on as a client does: again from where it was after each end, from a new list after a 410.
/// Ends with the object `fence`; how many times it had to begin anew.
pub async fn watch_live(access: Access, story: std::sync::Arc<Story>, mut list: List, fence: String) -> u64 {
    let mut expired = 0;
    loop {
        let mut told = Told { from: list.revision, through: list.revision, states: BTreeMap::new() };
        let mut state = list.contents.clone();
        told.states.insert(list.revision, state.clone());
        let ended = follow(&access, &story, &mut told, &mut state, &fence).await;
        story.parts().told.push(told);
        if ended {
            return expired;
        }
        expired += 1;
        list = loop {
            if let Ok(list) = story.list(&access).await {
                break list;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        };
        if list.contents.contains_key(&fence) {
            return expired;
        }
    }
}

/// Until the fence (true) or a 410 (false).
async fn follow(access: &Access, story: &Story, told: &mut Told, state: &mut Contents, fence: &str) -> bool {
    loop {
        let Ok(mut watch) = watch(access, told.through).await else {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            continue;
        };
        // An error is the connection's end: again from the last event.
        while let Ok(next) = next(&mut watch).await {
            let Next::Event(revision, event) = next else { return false };
            assert!(revision > told.through, "a watch goes back from {} to {revision}", told.through);
            let before = match event.kind.as_str() {
                "DELETED" => state.remove(&event.name),
                _ => state.insert(event.name.clone(), (event.value, revision)),
            };
            assert_eq!(before.is_none(), event.kind == "ADDED", "{event:?} at {revision} does not follow {state:?}");
            story.hear(revision, &event);
            told.through = revision;
            told.states.insert(revision, state.clone());
            if event.name == fence {
                return true;
            }
        }
    }
}
