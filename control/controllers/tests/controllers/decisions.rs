//! Single decisions: a world in, actions out.

use std::time::Duration;

use control_api::resource::{CONFIG_MAPS, EVENTS, NODES, PODS, REPLICA_SETS, SERVICE_ACCOUNTS};
use control_client::{Client, Key, Patch};
use control_controllers::event_ttl::EventTtlController;
use control_controllers::eviction::EvictionController;
use control_controllers::garbage::GarbageCollector;
use control_controllers::node::NodeController;
use control_controllers::replica_set::ReplicaSetController;
use control_controllers::{Action, Controller};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::cluster::{add_namespace, add_node, client, create, world};

async fn empty() -> Client {
    let (_, client) = client();
    add_namespace(&client, "default").await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    create(&client, &SERVICE_ACCOUNTS, "default", account).await;
    client
}

fn pod(name: &str, owner: Option<&str>) -> Value {
    let owner = owner.map(
        |uid| json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": uid, "controller": true}]),
    );
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "web"}, "ownerReferences": owner.unwrap_or(json!([]))},
        "spec": {"containers": [{"name": "main", "image": "web"}]},
    })
}

async fn set(client: &Client, replicas: i32) -> String {
    let object = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": "web"}]},
            },
        },
    });
    create(client, &REPLICA_SETS, "default", object).await.meta.uid.clone()
}

fn decide(client: &Client, controller: &dyn Controller, key: &Key) -> Vec<Action> {
    controller.reconcile(&world(client), key).expect("is decided")
}

#[tokio::test]
async fn a_set_makes_what_is_missing_after_adopting_what_matches() {
    let client = empty().await;
    set(&client, 3).await;
    create(&client, &PODS, "default", pod("stray", None)).await;
    let actions = decide(&client, &ReplicaSetController, &Key::new(&REPLICA_SETS, "default", "web"));
    let adopted = |action: &&Action| matches!(action, Action::Patch { key, .. } if &*key.name == "stray");
    assert_eq!(actions.iter().filter(adopted).count(), 1);
    assert_eq!(actions.iter().filter(|action| matches!(action, Action::Create { .. })).count(), 2);
}

#[tokio::test]
async fn a_set_with_too_many_pods_deletes_the_one_without_a_node_first() {
    let client = empty().await;
    let uid = set(&client, 1).await;
    for name in ["placed", "waiting"] {
        create(&client, &PODS, "default", pod(name, Some(&uid))).await;
    }
    let target = json!({"metadata": {"name": "placed"}, "target": {"kind": "Node", "name": "n"}});
    client.create_subresource(&PODS, "default", "placed", "binding", target).await.expect("is bound");
    let actions = decide(&client, &ReplicaSetController, &Key::new(&REPLICA_SETS, "default", "web"));
    let deleted: Vec<&str> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Delete { key, .. } => Some(&*key.name),
            _ => None,
        })
        .collect();
    assert_eq!(deleted, ["waiting"]);
}

#[tokio::test]
async fn an_object_whose_owner_is_gone_is_deleted_and_one_of_an_unknown_kind_stays() {
    let client = empty().await;
    let map = |name: &str, kind: &str, api: &str| {
        let owner = json!([{"apiVersion": api, "kind": kind, "name": "gone", "uid": "1"}]);
        let metadata = json!({"name": name, "ownerReferences": owner});
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    };
    create(&client, &CONFIG_MAPS, "default", map("a", "ConfigMap", "v1")).await;
    create(&client, &CONFIG_MAPS, "default", map("b", "Thing", "example.org/v1")).await;
    let key = |name: &str| Key::new(&CONFIG_MAPS, "default", name);
    assert!(matches!(decide(&client, &GarbageCollector, &key("a")).as_slice(), [Action::Delete { .. }]));
    assert!(decide(&client, &GarbageCollector, &key("b")).is_empty());
}

#[tokio::test]
async fn a_cordoned_node_gets_its_taint_and_a_ready_one_nothing() {
    let client = empty().await;
    add_node(&client, "n", "True").await;
    let key = Key::new(&NODES, "", "n");
    assert!(decide(&client, &NodeController, &key).is_empty());
    let cordon = Patch::Merge(json!({"spec": {"unschedulable": true}}));
    client.patch(&NODES, "", "n", None, cordon).await.expect("is cordoned");
    let actions = decide(&client, &NodeController, &key);
    let [Action::Patch { patch: Patch::Merge(patch), .. }] = actions.as_slice() else { panic!("{actions:?}") };
    assert_eq!(patch["spec"]["taints"][0]["key"], "node.kubernetes.io/unschedulable");
    assert_eq!(patch["spec"]["taints"][0]["effect"], "NoSchedule");
}

#[tokio::test]
async fn a_pod_stays_on_a_lost_node_for_the_seconds_it_tolerates() {
    let client = empty().await;
    add_node(&client, "n", "True").await;
    create(&client, &PODS, "default", pod("a", None)).await;
    let target = json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n"}});
    client.create_subresource(&PODS, "default", "a", "binding", target).await.expect("is bound");
    let since = control_client::recorder::seconds(Timestamp::now());
    let taint = json!({"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": since});
    let taints = Patch::Merge(json!({"spec": {"taints": [taint]}}));
    client.patch(&NODES, "", "n", None, taints).await.expect("is tainted");
    let key = Key::new(&PODS, "default", "a");
    let actions = decide(&client, &EvictionController, &key);
    let [Action::RequeueAfter(wait)] = actions.as_slice() else { panic!("{actions:?}") };
    assert!(*wait > Duration::from_secs(290) && *wait <= Duration::from_secs(301));
    let later = world(&client).at(Timestamp::now() + SignedDuration::from_secs(301));
    let actions = EvictionController.reconcile(&later, &key).expect("is decided");
    assert!(matches!(actions.as_slice(), [Action::Event { .. }, Action::Delete { .. }]), "{actions:?}");
}

#[tokio::test]
async fn an_event_is_deleted_an_hour_after_it_last_happened() {
    let client = empty().await;
    let now = Timestamp::now();
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "lastTimestamp": control_client::recorder::seconds(now),
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "a"}, "reason": "Started", "type": "Normal",
    });
    create(&client, &EVENTS, "default", event).await;
    let key = Key::new(&EVENTS, "default", "e");
    assert!(matches!(decide(&client, &EventTtlController, &key).as_slice(), [Action::RequeueAfter(_)]));
    let later = world(&client).at(now + SignedDuration::from_secs(3601));
    assert!(matches!(
        EventTtlController.reconcile(&later, &key).expect("is decided").as_slice(),
        [Action::Delete { .. }]
    ));
}
