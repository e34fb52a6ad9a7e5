//! The agent's own files on a disk that loses its power: the cache, the node's key and identity, and pods' records.
//!
//! `scripts/crash-cuts` makes more cuts than the tests do.

use std::path::Path;

use ::tests::disk::cuts::{Contents, Life, Promise, cut};
use ::tests::luck::Luck;
use agent_pods::machine::{Ended, Phase, State};
use agent_pods::record::Records;
use control_wire::{Identity, NodeKey};
use serde_json::json;

use super::*;

const TEST: &str = "cache::power::what_the_agent_keeps_survives_a_power_cut_at_any_operation_as_far_as_it_was_promised";
const CHANGES: u64 = 25;
const NAMES: u64 = 5;

fn cache_folder(folder: &Path) -> PathBuf {
    folder.join("agent/cache")
}

fn records(folder: &Path) -> Records {
    Records::new(folder.join("pods"))
}

fn pod(name: &str) -> Pod {
    let object = json!({"metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {"containers": [{"name": "main", "image": "demo"}]}});
    serde_json::from_value(object).unwrap()
}

/// The moment is the value, and a message makes it larger than a sector now and then.
fn state(name: &str, value: i32, ended: bool) -> State {
    let now = jiff::Timestamp::from_second(i64::from(value)).unwrap();
    let mut state = State::new(&pod(name), now);
    if ended {
        state.slots[0].phase = Phase::Ended(Ended {
            code: value,
            signal: None,
            reason: "Completed".to_owned(),
            message: "x".repeat(usize::try_from(value).unwrap() % 900),
            started_at: None,
            finished_at: now,
            container_id: None,
        });
    }
    state
}

fn value_of(state: &State) -> String {
    match &state.slots[0].phase {
        Phase::Ended(ended) => format!("ended-{}", ended.code),
        _ => format!("runs-{}", state.started.as_second()),
    }
}

fn certificate(key: &NodeKey) -> Vec<u8> {
    let pair = rcgen::KeyPair::try_from(key.der()).unwrap();
    rcgen::CertificateParams::default().self_signed(&pair).unwrap().der().to_vec()
}

/// All that there is, read by the code that an agent starts with.
fn find(folder: &Path) -> Contents {
    let mut found = Contents::new();
    let cache = Cache::open(cache_folder(folder)).unwrap();
    for ((resource, namespace, name), json) in cache.objects().all.iter() {
        let object: Value = serde_json::from_slice(json).unwrap();
        found.insert(format!("{resource}/{namespace}/{name}"), object["data"]["v"].as_str().unwrap().to_owned());
    }
    if let Some(network) = cache.network() {
        found.insert("network".to_owned(), network.domain);
    }
    let own = folder.join("agent");
    if let Some(identity) = Identity::load(&own).unwrap() {
        found.insert("identity".to_owned(), identity.cluster);
    }
    if own.join("node.key").exists() {
        found.insert("key".to_owned(), NodeKey::load_or_create(&own).unwrap().short());
    }
    let uids = fs::read_dir(folder.join("pods")).into_iter().flatten().flatten();
    for uid in uids.filter_map(|entry| entry.file_name().into_string().ok()) {
        if let Some(state) = records(folder).load(&uid) {
            found.insert(format!("record/{uid}"), value_of(&state));
        }
    }
    found
}

/// One object that is put or removed.
fn object(life: &mut Life, cache: &Cache, value: i32) {
    let resource = *life.luck.pick(&["pods", "pods", "secrets", "services", "endpointslices"]);
    let name = format!("{resource}-{}", life.luck.below(NAMES));
    let key: Key = (resource.to_owned(), "default".to_owned(), name.clone());
    let mark = format!("{resource}/default/{name}");
    if life.luck.one_in(4) {
        let promise = if resource == "pods" { Promise::Durable } else { Promise::Lazy };
        life.begin(promise, &mark, None);
        cache.remove(&key).unwrap();
    } else {
        let promise = if is_shared(resource) { Promise::Lazy } else { Promise::Durable };
        life.begin(promise, &mark, Some(&value.to_string()));
        let most = *life.luck.pick(&[10, 3000]);
        let padding = "y".repeat(life.luck.index(most));
        let object = json!({"metadata": {"name": name}, "data": {"v": value.to_string(), "padding": padding}});
        cache.put(&key, &serde_json::to_vec(&object).unwrap()).unwrap();
    }
    life.done();
}

fn record(life: &mut Life, value: i32) {
    let uid = format!("uid-{}", life.luck.below(NAMES));
    let (records, mark) = (records(&life.folder), format!("record/{uid}"));
    let before = records.load(&uid);
    if life.luck.one_in(6) {
        life.begin(Promise::Lazy, &mark, None);
        records.remove(&uid).unwrap();
    } else {
        // What has ended has ended.
        let ended = before.is_some_and(|state| state.tells_an_end()) || life.luck.one_in(3);
        let state = state(&uid, value, ended);
        life.begin(if ended { Promise::Durable } else { Promise::Lazy }, &mark, Some(&value_of(&state)));
        records.save(&uid, &state).unwrap();
    }
    life.done();
}

fn identity(life: &mut Life, key: &NodeKey, value: i32) {
    life.begin(Promise::Durable, "identity", Some(&value.to_string()));
    let identity = Identity {
        cluster: value.to_string(),
        node_name: "n1".to_owned(),
        addresses: vec!["192.0.2.1:6443".to_owned(); 1 + value.unsigned_abs() as usize % 40],
        certificate: certificate(key),
        ca: vec![7; 500],
        issued_seconds: 1,
        key: key.clone(),
    };
    identity.save(&life.folder.join("agent")).unwrap();
    life.done();
}

fn network(life: &mut Life, cache: &Cache, value: i32) {
    life.begin(Promise::Durable, "network", Some(&value.to_string()));
    let network = NodeNetwork {
        pod_range: "10.42.0.0/24".to_owned(),
        cluster_range: "10.42.0.0/16".to_owned(),
        service_range: "10.43.0.0/16".to_owned(),
        dns: "10.43.0.10".to_owned(),
        domain: value.to_string(),
        secret: [0; 32],
    };
    cache.set_network(&network).unwrap();
    life.done();
}

fn live(mut life: Life) {
    let own = life.folder.join("agent");
    let key_is_new = !own.join("node.key").exists();
    // Its bytes are drawn where nobody can tell them before: it is made elsewhere first.
    let key = if key_is_new {
        let place = tempfile::tempdir().unwrap();
        let key = NodeKey::load_or_create(place.path()).unwrap();
        life.begin(Promise::Durable, "key", Some(&key.short()));
        durable::private_folder(&own).unwrap();
        let pem = fs::read(place.path().join("node.key")).unwrap();
        durable::replace(&own.join("node.key"), &pem, MODE_PRIVATE).unwrap();
        life.done();
        key
    } else {
        NodeKey::load_or_create(&own).unwrap()
    };
    let cache = Cache::open(cache_folder(&life.folder)).unwrap();
    for _ in 0..CHANGES {
        let value = i32::try_from(life.luck.below(1_000_000)).unwrap();
        match life.luck.below(12) {
            0 => identity(&mut life, &key, value),
            1 => network(&mut life, &cache, value),
            2 => cache.write_shared(),
            3..=5 => record(&mut life, value),
            _ => object(&mut life, &cache, value),
        }
    }
    cache.write_shared();
}

#[test]
fn what_the_agent_keeps_survives_a_power_cut_at_any_operation_as_far_as_it_was_promised() {
    match Life::of_this_process() {
        Some(life) => live(life),
        None => cut(TEST, find),
    }
}

#[test]
fn a_torn_object_is_removed_and_the_rest_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("services/default");
    fs::create_dir_all(&place).unwrap();
    let whole = br#"{"metadata":{"name":"whole"}}"#;
    let mut luck = Luck::new(1);
    for number in 0..20 {
        let mut torn = whole.to_vec();
        match number {
            0 => torn.clear(),
            1 => torn.fill(0),
            _ if number % 2 == 0 => torn.truncate(luck.index(whole.len())),
            _ => torn[luck.index(whole.len())..].fill(0),
        }
        fs::write(place.join(format!("torn-{number}.json")), torn).unwrap();
    }
    fs::write(place.join("whole.json"), whole).unwrap();
    fs::write(place.join("half.json.new"), "{").unwrap();
    let cache = Cache::open(folder.path().to_owned()).unwrap();
    assert_eq!(cache.keys(), [("services".to_owned(), "default".to_owned(), "whole".to_owned())]);
    assert_eq!(fs::read_dir(place).unwrap().count(), 1);
}
