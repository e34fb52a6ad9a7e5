//! Stories of DaemonSets.

use control_api::resource::{CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS};
use control_client::{Client, DeleteOptions, Key, Patch, Propagation};
use control_controllers::daemon_set::DaemonSetController;
use control_controllers::{Action, Controller};
use serde_json::{Value, json};

use crate::cluster::{Cluster, NODE, add_namespace, add_node, client, create, value, world};

fn daemon(image: &str, strategy: Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "logs"},
        "spec": {
            "selector": {"matchLabels": {"app": "logs"}}, "updateStrategy": strategy, "revisionHistoryLimit": 1,
            "template": {
                "metadata": {"labels": {"app": "logs"}},
                "spec": {"containers": [{"name": "main", "image": image}]},
            },
        },
    })
}

fn image(tag: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": tag}]}}}})
}

/// Desired, updated, available; of the present generation.
fn says(client: &Client, desired: i64, updated: i64, available: i64) -> bool {
    let Some(object) = client.get(&DAEMON_SETS, "default", "logs") else { return false };
    let status = value(&object)["status"].clone();
    let number = |field: &str| status[field].as_i64().unwrap_or(0);
    status["observedGeneration"].as_i64() == Some(object.meta.generation.max(1))
        && number("desiredNumberScheduled") == desired
        && number("currentNumberScheduled") <= desired
        && number("updatedNumberScheduled") == updated
        && number("numberAvailable") == available
        && number("numberUnavailable") == desired - available
}

fn images(client: &Client) -> Vec<String> {
    let pods = client.list(&PODS, Some("default")).items;
    let living = pods.iter().filter(|pod| pod.meta.deletion_timestamp.is_none());
    let mut images: Vec<String> = living
        .map(|pod| value(pod)["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned())
        .collect();
    images.sort();
    images
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_node_gets_a_pod_that_tolerates_what_daemons_do_and_a_new_node_gets_one_too() {
    let cluster = Cluster::start().await;
    create(&cluster.client, &DAEMON_SETS, "default", daemon("logs:1", Value::Null)).await;
    cluster.until("one pod runs", |client| says(client, 1, 1, 1)).await;
    add_node(&cluster.client, "node2", "True").await;
    cluster.until("two pods run", |client| says(client, 2, 2, 2)).await;
    let pods = cluster.client.list(&PODS, Some("default")).items;
    let mut nodes: Vec<String> =
        pods.iter().map(|pod| value(pod)["spec"]["nodeName"].as_str().unwrap_or_default().to_owned()).collect();
    nodes.sort();
    assert_eq!(nodes, [NODE, "node2"]);
    let pod = value(&pods[0]);
    let keys: Vec<&str> =
        pod["spec"]["tolerations"].as_array().unwrap().iter().filter_map(|one| one["key"].as_str()).collect();
    for wanted in ["not-ready", "unreachable", "disk-pressure", "memory-pressure", "pid-pressure", "unschedulable"] {
        assert!(keys.contains(&format!("node.kubernetes.io/{wanted}").as_str()), "{wanted} in {keys:?}");
    }
    assert!(pod["metadata"]["labels"]["controller-revision-hash"].is_string());
    cluster.until("pods are told", |_| cluster.events("SuccessfulCreate").len() == 2).await;

    cluster.client.delete(&NODES, "", "node2", DeleteOptions::default()).await.expect("is deleted");
    cluster.until("its pod is gone", |client| says(client, 1, 1, 1) && images(client).len() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_the_template_does_not_fit_get_no_pod_and_lose_it_when_they_stop_to_fit() {
    let cluster = Cluster::start().await;
    let labels = |role: &str| Patch::Merge(json!({"metadata": {"labels": {"role": role}}}));
    let mut object = daemon("logs:1", Value::Null);
    object["spec"]["template"]["spec"]["nodeSelector"] = json!({"role": "edge"});
    create(&cluster.client, &DAEMON_SETS, "default", object).await;
    cluster.until("nothing fits", |client| says(client, 0, 0, 0)).await;
    cluster.client.patch(&NODES, "", NODE, None, labels("edge")).await.expect("is labelled");
    cluster.until("it runs", |client| says(client, 1, 1, 1)).await;
    cluster.client.patch(&NODES, "", NODE, None, labels("core")).await.expect("is labelled");
    cluster.until("it is gone", |client| says(client, 0, 0, 0) && images(client).is_empty()).await;
    cluster.client.patch(&NODES, "", NODE, None, labels("edge")).await.expect("is labelled");
    // The one that is going counts until it is gone.
    cluster.until("it runs again", |client| says(client, 1, 1, 1) && images(client).len() == 1).await;
    let taint = json!([{"key": "full", "effect": "NoSchedule"}]);
    let taints = Patch::Merge(json!({"spec": {"taints": taint}}));
    cluster.client.patch(&NODES, "", NODE, None, taints).await.expect("is tainted");
    cluster
        .until("it stays, at the wrong place", |client| {
            let status = value(&client.get(&DAEMON_SETS, "default", "logs").expect("is there"))["status"].clone();
            status["numberMisscheduled"] == 1 && status["desiredNumberScheduled"] == 0 && images(client).len() == 1
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_update_goes_node_by_node_and_history_keeps_its_limit() {
    let cluster = Cluster::start().await;
    add_node(&cluster.client, "node2", "True").await;
    create(&cluster.client, &DAEMON_SETS, "default", daemon("logs:1", Value::Null)).await;
    cluster.until("two run", |client| says(client, 2, 2, 2)).await;
    cluster.apply(&DAEMON_SETS, "logs", image("broken")).await;
    cluster
        .until("one waits, the other stays", |client| says(client, 2, 1, 1) && images(client) == ["broken", "logs:1"])
        .await;
    cluster.apply(&DAEMON_SETS, "logs", image("logs:1")).await;
    cluster.until("undone", |client| says(client, 2, 2, 2)).await;
    let revisions = cluster.client.list(&CONTROLLER_REVISIONS, Some("default")).items;
    let mut numbers: Vec<i64> = revisions.iter().filter_map(|one| value(one)["revision"].as_i64()).collect();
    numbers.sort();
    assert_eq!(numbers, [2, 3]);
    let newest = revisions.iter().map(|one| value(one)).find(|one| one["revision"] == 3).unwrap();
    assert_eq!(newest["data"]["spec"]["template"]["$patch"], "replace");
    assert_eq!(newest["data"]["spec"]["template"]["spec"]["containers"][0]["image"], "logs:1");
    cluster.apply(&DAEMON_SETS, "logs", image("logs:3")).await;
    cluster.until("updated", |client| says(client, 2, 2, 2) && images(client) == ["logs:3", "logs:3"]).await;
    cluster
        .until("the oldest revision is gone", |client| {
            client.list(&CONTROLLER_REVISIONS, Some("default")).items.len() == 2
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_surge_puts_the_new_pod_beside_the_old_one_until_it_is_available() {
    let cluster = Cluster::start().await;
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    create(&cluster.client, &DAEMON_SETS, "default", daemon("logs:1", strategy)).await;
    cluster.until("it runs", |client| says(client, 1, 1, 1)).await;
    cluster.apply(&DAEMON_SETS, "logs", image("broken")).await;
    cluster.until("both are there", |client| images(client) == ["broken", "logs:1"]).await;
    cluster.apply(&DAEMON_SETS, "logs", image("logs:2")).await;
    cluster.until("the new one took over", |client| says(client, 1, 1, 1) && images(client) == ["logs:2"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_delete_waits_for_the_user() {
    let cluster = Cluster::start().await;
    create(&cluster.client, &DAEMON_SETS, "default", daemon("logs:1", json!({"type": "OnDelete"}))).await;
    cluster.until("it runs", |client| says(client, 1, 1, 1)).await;
    cluster.apply(&DAEMON_SETS, "logs", image("logs:2")).await;
    cluster.until("it is out of date", |client| says(client, 1, 0, 1)).await;
    let pod = cluster.client.list(&PODS, Some("default")).items.remove(0);
    cluster.client.delete(&PODS, "default", &pod.key.name, DeleteOptions::default()).await.expect("is deleted");
    cluster.until("it is new", |client| says(client, 1, 1, 1) && images(client) == ["logs:2"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_daemon_set_takes_pods_and_revisions_along() {
    for propagation in [Propagation::Background, Propagation::Foreground] {
        let cluster = Cluster::start().await;
        create(&cluster.client, &DAEMON_SETS, "default", daemon("logs:1", Value::Null)).await;
        cluster.until("it runs", |client| says(client, 1, 1, 1)).await;
        let options = DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
        cluster.client.delete(&DAEMON_SETS, "default", "logs", options).await.expect("is deleted");
        cluster
            .until("all are gone", |client| {
                let left = |row| !client.list(row, Some("default")).items.is_empty();
                !left(&DAEMON_SETS) && !left(&PODS) && !left(&CONTROLLER_REVISIONS)
            })
            .await;
    }
}

#[tokio::test]
async fn a_failed_pod_is_replaced_at_first_and_then_after_a_pause() {
    let (_, client) = client();
    add_namespace(&client, "default").await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    create(&client, &control_api::resource::SERVICE_ACCOUNTS, "default", account).await;
    add_node(&client, NODE, "True").await;
    let set = create(&client, &DAEMON_SETS, "default", daemon("logs:1", Value::Null)).await;
    let controller = DaemonSetController::default();
    let key = Key::new(&DAEMON_SETS, "default", "logs");
    let decide = |client: &Client| controller.reconcile(&world(client), &key).expect("is decided");
    let made = decide(&client).into_iter().find_map(|action| match action {
        Action::Create { resource, object, .. } if *resource == PODS => Some(object),
        _ => None,
    });
    let mut pod = made.expect("a pod is made");
    assert_eq!(pod["metadata"]["ownerReferences"][0]["uid"], set.meta.uid);
    pod["metadata"]["name"] = json!("logs-1");
    create(&client, &PODS, "default", pod).await;
    let failed = Patch::Strategic(json!({"status": {"phase": "Failed"}}));
    client.patch(&PODS, "default", "logs-1", Some("status"), failed).await.expect("fails");
    let deletes = |actions: &[Action]| actions.iter().any(|action| matches!(action, Action::Delete { .. }));
    let tells = |actions: &[Action]| {
        actions.iter().any(|action| matches!(action, Action::Event { reason: "FailedDaemonPod", .. }))
    };
    let first = decide(&client);
    assert!(deletes(&first) && tells(&first), "{first:?}");
    let second = decide(&client);
    assert!(!deletes(&second), "{second:?}");
    assert!(second.iter().any(|action| matches!(action, Action::RequeueAfter(_))), "{second:?}");
}
