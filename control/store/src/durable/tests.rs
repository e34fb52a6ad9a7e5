use std::collections::{BTreeMap, HashSet};
use std::io;
use std::time::Duration;

use control_api::{Draft, resource};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::memory::MemoryStore;
use crate::watch::EventKind;
use crate::write::{Change, Precondition, Tier};

/// A disk that can lose power: what was written since the last sync is kept page by page or not at all.
#[derive(Clone, Default)]
struct FrailFile(Arc<Mutex<Frail>>);

#[derive(Default)]
struct Frail {
    synced: Vec<u8>,
    written: Vec<u8>,
    dirty: Vec<(u64, usize)>,
}

const PAGE: usize = 512;

impl LogFile for FrailFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut file = self.0.lock().unwrap();
        let end = offset as usize + bytes.len();
        if file.written.len() < end {
            file.written.resize(end, 0);
        }
        file.written[offset as usize..end].copy_from_slice(bytes);
        file.dirty.push((offset, bytes.len()));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut file = self.0.lock().unwrap();
        file.synced = file.written.clone();
        file.dirty.clear();
        Ok(())
    }

    fn read_all(&mut self) -> io::Result<Vec<u8>> {
        Ok(self.0.lock().unwrap().written.clone())
    }
}

impl FrailFile {
    /// The file as a power cut leaves it: of the unsynced pages, those that `lucky` picks.
    fn after_power_cut(&self, mut lucky: impl FnMut() -> bool) -> Self {
        let file = self.0.lock().unwrap();
        let mut left = file.synced.clone();
        for (offset, length) in &file.dirty {
            let mut at = *offset as usize;
            let end = at + length;
            while at < end {
                let stop = end.min((at / PAGE + 1) * PAGE);
                if lucky() {
                    if left.len() < stop {
                        left.resize(stop, 0);
                    }
                    left[at..stop].copy_from_slice(&file.written[at..stop]);
                }
                at = stop;
            }
        }
        Self(Arc::new(Mutex::new(Frail { synced: left.clone(), written: left, dirty: Vec::new() })))
    }
}

fn tiny() -> Limits {
    Limits { segment_bytes: 6_000, segment_bytes_max: 20_000, ..Limits::default() }
}

fn put(name: &str, value: u64, tier: Tier, precondition: Precondition) -> Write {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"}, "data": {"v": value.to_string()}});
    let key = Key::new(&resource::CONFIG_MAPS, "default", name);
    Write { key, tier, precondition, change: Change::Put(Draft::new(&object).unwrap()) }
}

fn value(object: &Object) -> u64 {
    let json: serde_json::Value = serde_json::from_slice(&object.json).unwrap();
    assert_eq!(json["metadata"]["resourceVersion"], object.revision.to_string());
    json["data"]["v"].as_str().unwrap().parse().unwrap()
}

async fn set(store: &dyn Store, name: &str, wanted: u64, tier: Tier) -> Arc<Object> {
    let key = Key::new(&resource::CONFIG_MAPS, "default", name);
    let precondition = store.get(&key).map_or(Precondition::Absent, |object| Precondition::Revision(object.revision));
    store.write(put(name, wanted, tier, precondition)).await.unwrap()
}

async fn remove(store: &dyn Store, name: &str) {
    let key = Key::new(&resource::CONFIG_MAPS, "default", name);
    let Some(object) = store.get(&key) else { return };
    let json: serde_json::Value = serde_json::from_slice(&object.json).unwrap();
    let change = Change::Delete(Draft::new(&json).unwrap());
    let precondition = Precondition::Revision(object.revision);
    store.write(Write { key, tier: Tier::Durable, precondition, change }).await.unwrap();
}

fn contents(store: &dyn Store) -> BTreeMap<String, u64> {
    let listing = store.list(&resource::CONFIG_MAPS, None, &Page::default());
    listing.items.iter().map(|object| (object.key.name.to_string(), value(object))).collect()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn a_closed_store_opens_with_everything_and_counts_on() {
    let folder = folder();
    let store = DurableStore::open(folder.path()).unwrap();
    for index in 0..20 {
        set(&*store, &format!("map-{}", index % 7), index, Tier::Durable).await;
    }
    remove(&*store, "map-3").await;
    let (before, revision) = (contents(&*store), store.revision());
    drop(store);
    let store = DurableStore::open(folder.path()).unwrap();
    assert_eq!(contents(&*store), before);
    assert!(store.revision() >= revision);
    assert!(store.watch(&resource::CONFIG_MAPS, revision.saturating_sub(1)).is_err());
    let object = set(&*store, "map-9", 1, Tier::Durable).await;
    assert!(object.revision > revision);
}

#[tokio::test]
async fn two_servers_never_share_a_store() {
    let folder = folder();
    let _store = DurableStore::open(folder.path()).unwrap();
    assert!(matches!(DurableStore::open(folder.path()), Err(OpenError::InUse { .. })));
}

#[tokio::test]
async fn preconditions_hold_among_writes_of_one_batch() {
    let folder = folder();
    let store = DurableStore::open(folder.path()).unwrap();
    let racers: Vec<_> = (0..50)
        .map(|index| {
            let store = store.clone();
            tokio::spawn(async move { store.write(put("one", index, Tier::Durable, Precondition::Absent)).await })
        })
        .collect();
    let mut won = 0;
    for racer in racers {
        match racer.await.unwrap() {
            Ok(_) => won += 1,
            Err(error) => assert!(matches!(error, WriteError::Exists)),
        }
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn whoever_is_refused_because_of_a_change_can_see_it() {
    let folder = folder();
    let store = DurableStore::open(folder.path()).unwrap();
    for round in 0..200 {
        let name = format!("map-{round}");
        let create = |value| {
            let (answer, answered) = tokio::sync::oneshot::channel();
            (Pending { write: put(&name, value, Tier::Durable, Precondition::Absent), answer }, answered)
        };
        let ((first, won), (second, lost)) = (create(1), create(2));
        store.queue.push_all(vec![first, second]);
        assert!(matches!(lost.await.unwrap(), Err(WriteError::Exists)));
        assert!(
            store.get(&Key::new(&resource::CONFIG_MAPS, "default", &name)).is_some(),
            "it exists, and is not there"
        );
        won.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_watch_sees_every_change_once_and_in_order() {
    let folder = folder();
    let store = DurableStore::open(folder.path()).unwrap();
    let mut watch = store.watch(&resource::CONFIG_MAPS, store.revision()).unwrap();
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for index in 0..200 {
                set(&*store, &format!("map-{}", index % 5), index, Tier::Lazy).await;
            }
            remove(&*store, "map-0").await;
        })
    };
    let (mut seen, mut last) = (Vec::new(), 0);
    while seen.len() < 201 {
        for event in watch.next().await.unwrap() {
            assert!(event.object.revision > last);
            last = event.object.revision;
            seen.push((event.kind, value(&event.object)));
        }
    }
    writer.await.unwrap();
    let values: Vec<u64> = seen[..200].iter().map(|(_, value)| *value).collect();
    assert_eq!(values, (0..200).collect::<Vec<_>>());
    assert!(seen[..5].iter().all(|(kind, _)| *kind == EventKind::Added));
    assert_eq!(seen[200].0, EventKind::Deleted);
}

#[tokio::test]
async fn volatile_writes_touch_no_disk_and_are_gone_after_a_start() {
    let folder = folder();
    let store = DurableStore::open(folder.path()).unwrap();
    set(&*store, "kept", 1, Tier::Durable).await;
    let before = std::fs::read(folder.path().join("log-0")).unwrap();
    for index in 0..10 {
        set(&*store, "beat", index, Tier::Volatile).await;
    }
    assert_eq!(std::fs::read(folder.path().join("log-0")).unwrap(), before);
    let revision = store.revision();
    drop(store);
    let store = DurableStore::open(folder.path()).unwrap();
    assert_eq!(contents(&*store).into_keys().collect::<Vec<_>>(), ["kept"]);
    assert!(set(&*store, "next", 1, Tier::Durable).await.revision > revision);
}

#[tokio::test]
async fn a_lazy_write_reaches_the_disk_by_itself() {
    let folder = folder();
    let checkpoint = Checkpoint::open(&folder.path().join("objects.redb")).unwrap();
    let files = [FrailFile::default(), FrailFile::default()];
    let boxed: [Box<dyn LogFile>; 2] = [Box::new(files[0].clone()), Box::new(files[1].clone())];
    let limits = Limits { lazy_sync_after: Duration::from_millis(5), ..Limits::default() };
    let store = DurableStore::start(boxed, checkpoint, None, limits).unwrap();
    set(&*store, "first", 1, Tier::Durable).await;
    set(&*store, "lazy", 2, Tier::Lazy).await;
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !files[0].0.lock().unwrap().dirty.is_empty() {
        assert!(std::time::Instant::now() < deadline, "a lazy write was never synced");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn leases_come_back_under_a_new_revision() {
    let folder = folder();
    let store = DurableStore::open(folder.path()).unwrap();
    let lease = json!({"metadata": {"name": "leader", "namespace": "kube-system"}, "spec": {"holderIdentity": "a"}});
    let key = Key::new(&resource::LEASES, "kube-system", "leader");
    let change = Change::Put(Draft::new(&lease).unwrap());
    let write = Write { key: key.clone(), tier: Tier::Durable, precondition: Precondition::Absent, change };
    let before = store.write(write).await.unwrap().revision;
    drop(store);
    let store = DurableStore::open(folder.path()).unwrap();
    let after = store.get(&key).unwrap();
    assert!(after.revision > before);
    let json: serde_json::Value = serde_json::from_slice(&after.json).unwrap();
    assert_eq!(json["metadata"]["resourceVersion"], after.revision.to_string());
}

/// Writes until it is killed, telling each acknowledged number; run by the test below in a process of its own.
#[tokio::test]
async fn writer_until_killed() {
    let Ok(folder) = std::env::var("BRAMBLE_STORE_KILL_TEST") else { return };
    let store = DurableStore::open(Path::new(&folder)).unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for index in 0..100_000_u64 {
                    set(&*store, &format!("task-{task}-{}", index % 20), index, Tier::Durable).await;
                    println!("acknowledged {task} {index}");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[test]
fn a_killed_writer_loses_nothing_acknowledged() {
    use std::io::{BufRead, BufReader};
    let folder = folder();
    for _ in 0..3 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "durable::tests::writer_until_killed", "--nocapture"])
            .env("BRAMBLE_STORE_KILL_TEST", folder.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut newest = BTreeMap::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut heard = 0;
        let mut hear = |line: String, newest: &mut BTreeMap<(u64, u64), u64>| {
            // The harness prints its own words on the first line.
            let Some((_, words)) = line.split_once("acknowledged ") else { return };
            let (task, index) = words.split_once(' ').unwrap();
            let (task, index): (u64, u64) = (task.parse().unwrap(), index.parse().unwrap());
            newest.insert((task, index % 20), index);
            heard += 1;
            if heard == 3_000 {
                child.kill().unwrap();
            }
        };
        for line in lines.by_ref() {
            if line.ends_with(char::is_numeric) {
                hear(line, &mut newest);
            }
        }
        child.wait().unwrap();
        let store = DurableStore::open(folder.path()).unwrap();
        let found = contents(&*store);
        assert!(newest.len() > 100);
        for ((task, slot), index) in newest {
            assert!(found[&format!("task-{task}-{slot}")] >= index, "task {task} slot {slot} went back");
        }
        drop(store);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Set { slot: u8, tier: Tier },
    Remove { slot: u8 },
    PowerCut { luck: u64 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6_u8).prop_map(|slot| Step::Set { slot, tier: Tier::Durable }),
        4 => (0..6_u8).prop_map(|slot| Step::Set { slot, tier: Tier::Lazy }),
        2 => (0..6_u8).prop_map(|slot| Step::Remove { slot }),
        1 => any::<u64>().prop_map(|luck| Step::PowerCut { luck }),
        1 => Just(Step::Restart),
    ]
}

/// The states that a power cut may leave: after the newest durable change, or after any lazy one since.
async fn survive(steps: Vec<Step>) {
    let folder = folder();
    let path = folder.path().join("objects.redb");
    let mut files = [FrailFile::default(), FrailFile::default()];
    let open = |files: &[FrailFile; 2]| {
        let boxed: [Box<dyn LogFile>; 2] = [Box::new(files[0].clone()), Box::new(files[1].clone())];
        DurableStore::start(boxed, Checkpoint::open(&path).unwrap(), None, tiny()).unwrap()
    };
    let mut store = open(&files);
    let (mut allowed, mut seen) = (vec![BTreeMap::new()], HashSet::new());
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Set { slot, tier } => {
                let object = set(&*store, &format!("slot-{slot}"), number as u64, tier).await;
                assert!(seen.insert(object.revision), "a revision was given out twice");
                if tier == Tier::Durable {
                    allowed.clear();
                }
                allowed.push(contents(&*store));
            }
            Step::Remove { slot } => {
                let before = store.revision();
                remove(&*store, &format!("slot-{slot}")).await;
                if store.revision() > before {
                    allowed = vec![contents(&*store)];
                }
            }
            Step::PowerCut { luck } => {
                let mut state = luck | 1;
                let mut lucky = || {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state & 1 == 1
                };
                // The files as they are now; what closing writes afterwards goes to the old ones.
                files = [files[0].after_power_cut(&mut lucky), files[1].after_power_cut(&mut lucky)];
                store.crash();
                store = open(&files);
                let found = contents(&*store);
                assert!(allowed.contains(&found), "after step {number}: {found:?} is none of {allowed:?}");
                allowed = vec![found];
            }
            Step::Restart => {
                store.close();
                store = open(&files);
                let found = contents(&*store);
                assert_eq!(Some(&found), allowed.last());
                allowed = vec![found];
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_power_cut_leaves_every_durable_write_and_never_a_hole(steps in prop::collection::vec(step(), 1..120)) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(survive(steps));
    }

    #[test]
    fn the_twin_behaves_the_same(steps in prop::collection::vec(step(), 1..60)) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let folder = folder();
            let (durable, twin) = (DurableStore::open(folder.path()).unwrap(), MemoryStore::default());
            for (number, step) in steps.into_iter().enumerate() {
                for store in [&*durable as &dyn Store, &twin] {
                    match &step {
                        Step::Set { slot, tier } => drop(set(store, &format!("slot-{slot}"), number as u64, *tier).await),
                        Step::Remove { slot } => remove(store, &format!("slot-{slot}")).await,
                        Step::PowerCut { .. } | Step::Restart => {}
                    }
                }
                assert_eq!(contents(&*durable), contents(&twin));
            }
        });
    }
}
