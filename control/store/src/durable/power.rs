//! The store on a disk that loses its power at any operation: while it writes, folds, opens, recovers or closes.
//!
//! Log, checkpoint and their names lie on one simulated disk. What is found afterwards is compared with a model: the
//! list of all changes in their order, of which the store must hold a prefix with all that was promised.
//! `scripts/crash-cuts` makes more cuts than the tests do.

use std::collections::BTreeMap;
use std::io;

use ::tests::disk::{Disk, OpenFile};
use ::tests::luck::{Luck, seed, setting};
use control_api::{Draft, resource};
use serde_json::json;

use super::*;
use crate::write::{Change, Precondition, Tier};

const CUTS: u64 = 1000;
const KEYS: u64 = 8;
/// Operations of the disk that a run lasts at most; a start alone takes some ten.
const OPERATIONS_MAX: u64 = 250;
const ROUNDS_MAX: u64 = 40;
const WRITES_AT_ONCE_MAX: u64 = 6;

#[derive(Debug)]
struct Simulated(Disk);

#[derive(Debug)]
struct Backend(OpenFile);

impl LogFile for OpenFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        OpenFile::write_at(self, bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        OpenFile::sync(self)
    }

    fn read_all(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.len()?).map_err(io::Error::other)?];
        self.read_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

impl redb::StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(out, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(data, offset)
    }
}

impl Folder for Simulated {
    fn log(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(self.0.open(Path::new(name), false)?))
    }

    fn checkpoint(&self, name: &str) -> Result<Checkpoint, CheckpointError> {
        let file = self.0.open(Path::new(name), false).map_err(|error| {
            CheckpointError::Open(Box::new(redb::DatabaseError::Storage(redb::StorageError::Io(error))))
        })?;
        Checkpoint::on(Backend(file))
    }

    fn has(&self, name: &str) -> io::Result<bool> {
        Ok(self.0.names(Path::new(""))?.iter().any(|there| there == name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(Path::new(from), Path::new(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(Path::new(name))
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_folder(Path::new(""))
    }
}

/// What a key holds: the number that its last writer gave it.
type Contents = BTreeMap<String, u64>;

/// One change that the store may hold, and whether it must.
#[derive(Debug, Clone)]
struct Step {
    key: String,
    value: Option<u64>,
    promised: bool,
    /// For lack of room, which is to say: not written.
    refused: bool,
}

/// All changes since the contents that the last start found.
#[derive(Debug, Default)]
struct Model {
    base: Contents,
    steps: Vec<Step>,
    /// No revision up to here may be given out again.
    seen: u64,
}

impl Model {
    /// The last step whose loss would break a promise, counted from one.
    fn promised(&self) -> usize {
        self.steps.iter().rposition(|step| step.promised).map_or(0, |at| at + 1)
    }

    /// What was found is a prefix with all that was promised; it is the base from now on.
    fn accept(&mut self, found: Contents, whole: bool) {
        self.steps.retain(|step| !step.refused);
        let (mut state, mut allowed) = (self.base.clone(), Vec::new());
        let least = if whole { self.steps.len() } else { self.promised() };
        for (number, step) in self.steps.iter().enumerate() {
            if number >= least {
                allowed.push(state.clone());
            }
            match step.value {
                Some(value) => drop(state.insert(step.key.clone(), value)),
                None => drop(state.remove(&step.key)),
            }
        }
        allowed.push(state);
        assert!(allowed.contains(&found), "found {found:?}\nwhich is none of {allowed:?}\nafter {:?}", self.steps);
        self.base = found;
        self.steps.clear();
    }
}

fn contents(store: &DurableStore) -> Contents {
    let listing = store.list(&resource::CONFIG_MAPS, None, &Page::default());
    let value = |object: &Object| -> u64 {
        let json: serde_json::Value = serde_json::from_slice(&object.json).unwrap();
        assert_eq!(json["metadata"]["resourceVersion"], object.revision.to_string());
        json["data"]["v"].as_str().unwrap().parse().unwrap()
    };
    listing.items.iter().map(|object| (object.key.name.to_string(), value(object))).collect()
}

fn limits() -> Limits {
    Limits { segment_bytes: 9_000, segment_bytes_max: 30_000, reserve: 7, ..Limits::default() }
}

/// One change at random, and what it makes of its key.
fn change(store: &DurableStore, name: &str, number: u64, luck: &mut Luck) -> Option<(Write, Option<u64>)> {
    let key = Key::new(&resource::CONFIG_MAPS, "default", name);
    let current = store.get(&key);
    let tier = *luck.pick(&[Tier::Durable, Tier::Durable, Tier::Lazy, Tier::Lazy, Tier::Volatile]);
    let precondition = current.as_ref().map_or(Precondition::Absent, |object| Precondition::Revision(object.revision));
    if luck.one_in(5) {
        let json: serde_json::Value = serde_json::from_slice(&current?.json).unwrap();
        let change = Change::Delete(Draft::new(&json).unwrap());
        return Some((Write { key, tier, precondition, change }, None));
    }
    // Some are larger than many sectors.
    let most = if luck.one_in(4) { 6000 } else { 300 };
    let padding = "x".repeat(luck.index(most));
    let object = json!({"metadata": {"name": name, "namespace": "default"},
        "data": {"v": number.to_string(), "padding": padding}});
    let change = Change::Put(Draft::new(&object).unwrap());
    Some((Write { key, tier, precondition, change }, Some(number)))
}

/// Several writes of different keys at once, told to the model in the order in which the writer takes them. Whether
/// none was refused: to ask the disk would race with what the writer does beside.
async fn write(store: &DurableStore, model: &mut Model, number: &mut u64, luck: &mut Luck) -> bool {
    let mut well = true;
    let (mut writes, mut first) = (Vec::new(), luck.below(KEYS));
    for _ in 0..=luck.below(WRITES_AT_ONCE_MAX) {
        *number += 1;
        // Volatile changes of a key that is also logged would make the model guess; they have keys of their own.
        let name = format!("key-{}", first % KEYS);
        first += 1;
        let Some((mut write, value)) = change(store, &name, *number, luck) else { continue };
        if write.tier == Tier::Volatile {
            write.key = Key::new(&resource::EVENTS, "default", &name);
            let current = store.get(&write.key);
            write.precondition = current.map_or(Precondition::Absent, |object| Precondition::Revision(object.revision));
        }
        writes.push((name, value, write));
    }
    let (mut pending, mut answers) = (Vec::new(), Vec::new());
    for (name, value, write) in writes {
        let tier = write.tier;
        let step = (tier != Tier::Volatile).then(|| {
            model.steps.push(Step { key: name, value, promised: false, refused: false });
            model.steps.len() - 1
        });
        let (answer, answered) = tokio::sync::oneshot::channel();
        pending.push(Pending { write, answer });
        answers.push((step, tier, answered));
    }
    store.queue.push_all(pending);
    for (step, tier, answered) in answers {
        let answer = answered.await.unwrap_or(Err(WriteError::Closed));
        match answer {
            Ok(object) => {
                assert!(object.revision > model.seen, "revision {} was given out twice", object.revision);
                model.seen = object.revision;
                if let Some(step) = step
                    && tier == Tier::Durable
                {
                    model.steps[step].promised = true;
                }
            }
            Err(WriteError::Full(_)) => {
                well = false;
                if let Some(step) = step {
                    model.steps[step].refused = true;
                }
            }
            // What it did before the power went nobody knows.
            Err(WriteError::Log(_) | WriteError::Closed) => well = false,
            Err(error) => panic!("{error}"),
        }
    }
    well
}

/// From one start to one cut. Gives the disk that the next start finds.
async fn live(disk: Disk, limits: Limits, model: &mut Model, number: &mut u64, luck: &mut Luck) -> Disk {
    // Now and then the power goes right in the start, or while a start repairs what the cut before left.
    let most = if luck.one_in(4) { 20 } else { OPERATIONS_MAX };
    disk.cut_after(luck.below(most));
    let store = match DurableStore::open_in(&Simulated(disk.clone()), Path::new("store"), None, limits) {
        Ok(store) => store,
        Err(error) => {
            assert!(disk.is_off(), "the store does not open on a disk that works: {error:?}");
            return disk.after_power_cut(luck);
        }
    };
    let found = contents(&store);
    model.accept(found, false);
    assert!(store.revision() >= model.seen, "revisions go back");
    // Most are cut while they write, some while they close.
    let rounds = if luck.one_in(4) { luck.below(ROUNDS_MAX) } else { OPERATIONS_MAX };
    for _ in 0..rounds {
        if !write(&store, model, number, luck).await {
            break;
        }
    }
    store.close();
    disk.after_power_cut(luck)
}

fn run(cuts: u64, seed: u64, folds_beside: bool) {
    let mut luck = Luck::new(seed);
    let (mut disk, mut model, mut number) = (Disk::default(), Model::default(), 0);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for cut in 0..cuts {
        // A new life now and then, so that first starts are cut too.
        if luck.one_in(20) {
            (disk, model) = (Disk::default(), Model::default());
        }
        let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let limits = Limits { folds_beside, ..limits() };
            runtime.block_on(live(disk.clone(), limits, &mut model, &mut number, &mut luck))
        }));
        disk = lived.unwrap_or_else(|panic| {
            eprintln!("at cut {cut} of BRAMBLE_SEED={seed}, folds beside writes: {folds_beside}");
            std::panic::resume_unwind(panic)
        });
    }
}

#[test]
fn a_power_cut_at_any_operation_of_the_disk_leaves_a_prefix_with_all_that_was_promised() {
    let (cuts, seed) = (setting("BRAMBLE_DISK_CUTS", CUTS), seed());
    // One half is the same again for the same seed; in the other folds and writes race each other.
    std::thread::scope(|scope| {
        let halves = [scope.spawn(|| run(cuts / 2, seed, false)), scope.spawn(|| run(cuts - cuts / 2, seed, true))];
        for half in halves {
            half.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}

#[test]
fn a_full_disk_refuses_writes_loses_nothing_and_the_next_start_goes_on() {
    let mut luck = Luck::new(seed());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for _ in 0..20 {
        let (disk, mut model, mut number) = (Disk::default(), Model::default(), 0);
        let open = || DurableStore::open_in(&Simulated(disk.clone()), Path::new("store"), None, limits());
        let store = open().unwrap();
        disk.set_room(Some(luck.below(3 << 20)));
        for _ in 0..200 {
            runtime.block_on(write(&store, &mut model, &mut number, &mut luck));
        }
        let full = store.failure().is_some();
        store.close();
        if open().is_err() {
            assert!(full, "it opens unless the disk is full");
        }
        disk.set_room(None);
        let store = open().unwrap();
        assert_eq!(store.failure(), None);
        model.accept(contents(&store), !full);
        runtime.block_on(write(&store, &mut model, &mut number, &mut luck));
    }
}
