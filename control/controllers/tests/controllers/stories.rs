//! Whole stories, from a user's wish to the cluster's answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use control_api::resource::{
    CONFIG_MAPS, DEPLOYMENTS, EVENTS, NAMESPACES, NODES, PODS, REPLICA_SETS, SERVICE_ACCOUNTS, SERVICES,
};
use control_client::{Client, DeleteOptions, Feed, Propagation};
use serde_json::json;

use crate::cluster::{Cluster, NODE, add_namespace, create, deployment, is_rolled_out, set_ready, value};

async fn deploy(cluster: &Cluster, name: &str, replicas: i32, image: &str) {
    create(&cluster.client, &DEPLOYMENTS, "default", deployment(name, replicas, image)).await;
}

fn image(tag: &str) -> serde_json::Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": tag}]}}}})
}

fn ready_pods(client: &Client) -> i64 {
    let pods = client.list(&PODS, Some("default")).items;
    let ready = |pod: &Arc<control_client::Object>| {
        let conditions = value(pod)["status"]["conditions"].as_array().cloned().unwrap_or_default();
        pod.meta.deletion_timestamp.is_none()
            && conditions.iter().any(|found| found["type"] == "Ready" && found["status"] == "True")
    };
    i64::try_from(pods.iter().filter(|pod| ready(pod)).count()).expect("few")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_of_three_becomes_available_and_says_so() {
    let cluster = Cluster::start().await;
    deploy(&cluster, "web", 3, "web:1").await;
    cluster.until("rolled out", |client| is_rolled_out(client, "web", 3)).await;
    cluster
        .until("progress is told", |client| {
            let status = value(&client.get(&DEPLOYMENTS, "default", "web").expect("is there"))["status"].clone();
            status["conditions"].as_array().is_some_and(|all| {
                let says =
                    |kind: &str, reason: &str| all.iter().any(|one| one["type"] == kind && one["reason"] == reason);
                says("Available", "MinimumReplicasAvailable") && says("Progressing", "NewReplicaSetAvailable")
            })
        })
        .await;
    let web = cluster.deployment("web");
    assert_eq!(web["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "1");
    let set = cluster.client.list(&REPLICA_SETS, Some("default")).items.remove(0);
    let scaled = cluster.events("ScalingReplicaSet");
    assert_eq!(scaled, [format!("Scaled up replica set {} from 0 to 3", set.key.name)]);
    cluster.until("pods are told", |_| cluster.events("SuccessfulCreate").len() == 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_pod_is_replaced() {
    let cluster = Cluster::start().await;
    deploy(&cluster, "web", 2, "web:1").await;
    cluster.until("rolled out", |client| is_rolled_out(client, "web", 2)).await;
    let pod = cluster.client.list(&PODS, Some("default")).items.remove(0);
    cluster.client.delete(&PODS, "default", &pod.key.name, DeleteOptions::default()).await.expect("is deleted");
    cluster
        .until("another took its place", |client| {
            client.get(&PODS, "default", &pod.key.name).is_none() && ready_pods(client) == 2
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_update_never_has_fewer_than_the_allowed_pods_ready_and_undo_brings_the_old_set_back() {
    let cluster = Cluster::start().await;
    deploy(&cluster, "web", 4, "web:1").await;
    cluster.until("rolled out", |client| is_rolled_out(client, "web", 4)).await;
    let first = cluster.client.list(&REPLICA_SETS, Some("default")).items.remove(0).key.name.clone();

    let fewest = Arc::new(AtomicI64::new(i64::MAX));
    let most = Arc::new(AtomicI64::new(0));
    let watcher = {
        let (client, fewest, most) = (cluster.client.clone(), fewest.clone(), most.clone());
        tokio::spawn(async move {
            let mut feed = Feed::new(&client, [&PODS]);
            while feed.next().await.is_some() {
                fewest.fetch_min(ready_pods(&client), Ordering::Relaxed);
                let living = client.list(&PODS, Some("default")).items;
                let living = living.iter().filter(|pod| pod.meta.deletion_timestamp.is_none()).count();
                most.fetch_max(i64::try_from(living).expect("few"), Ordering::Relaxed);
            }
        })
    };
    cluster.apply(&DEPLOYMENTS, "web", image("web:2")).await;
    cluster.until("updated", |client| is_rolled_out(client, "web", 4)).await;
    watcher.abort();
    assert!(fewest.load(Ordering::Relaxed) >= 3, "25% of 4 may be unavailable");
    // Of what the sets are told to have; one that a set is about to delete may live for a moment beside its successor.
    assert!(most.load(Ordering::Relaxed) <= 6, "25% of 4 may be surplus");
    assert_eq!(cluster.deployment("web")["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "2");
    assert_eq!(cluster.client.list(&REPLICA_SETS, Some("default")).items.len(), 2);

    // What `kubectl rollout undo` does: the old set's template goes back into the Deployment.
    cluster.apply(&DEPLOYMENTS, "web", image("web:1")).await;
    cluster.until("undone", |client| is_rolled_out(client, "web", 4)).await;
    let set = value(&cluster.client.get(&REPLICA_SETS, "default", &first).expect("the old set is still there"));
    assert_eq!(set["spec"]["replicas"], 4);
    assert_eq!(set["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "3");
    assert_eq!(set["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"], "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_that_never_becomes_ready_stops_where_the_allowed_pods_are_left() {
    let cluster = Cluster::start().await;
    deploy(&cluster, "web", 4, "web:1").await;
    cluster.until("rolled out", |client| is_rolled_out(client, "web", 4)).await;
    cluster.apply(&DEPLOYMENTS, "web", image("broken")).await;
    cluster
        .until("two new pods wait", |client| {
            let status = value(&client.get(&DEPLOYMENTS, "default", "web").expect("is there"))["status"].clone();
            status["updatedReplicas"] == 2 && status["availableReplicas"] == 3 && status["replicas"] == 5
        })
        .await;
    assert_eq!(ready_pods(&cluster.client), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_deployment_scales_but_does_not_roll() {
    let cluster = Cluster::start().await;
    deploy(&cluster, "web", 1, "web:1").await;
    cluster.until("rolled out", |client| is_rolled_out(client, "web", 1)).await;
    cluster.apply(&DEPLOYMENTS, "web", json!({"spec": {"paused": true}})).await;
    let mut patch = image("web:2");
    patch["spec"]["replicas"] = json!(3);
    cluster.apply(&DEPLOYMENTS, "web", patch).await;
    cluster.until("scaled", |client| ready_pods(client) == 3).await;
    assert_eq!(cluster.client.list(&REPLICA_SETS, Some("default")).items.len(), 1);
    cluster.apply(&DEPLOYMENTS, "web", json!({"spec": {"paused": null}})).await;
    cluster.until("rolled on", |client| is_rolled_out(client, "web", 3)).await;
    assert_eq!(cluster.client.list(&REPLICA_SETS, Some("default")).items.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recreate_ends_all_old_pods_before_it_makes_new_ones() {
    let cluster = Cluster::start().await;
    let mut object = deployment("web", 2, "web:1");
    object["spec"]["strategy"] = json!({"type": "Recreate"});
    create(&cluster.client, &DEPLOYMENTS, "default", object).await;
    cluster.until("rolled out", |client| is_rolled_out(client, "web", 2)).await;
    cluster.apply(&DEPLOYMENTS, "web", image("web:2")).await;
    cluster
        .until("recreated", |client| {
            let pods = client.list(&PODS, Some("default")).items;
            let tags: Vec<_> = pods.iter().map(|pod| value(pod)["spec"]["containers"][0]["image"].clone()).collect();
            assert!(tags.iter().all(|tag| *tag == tags[0]), "old and new pods at once");
            is_rolled_out(client, "web", 2) && tags.iter().all(|tag| tag == "web:2")
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_deployment_takes_its_sets_and_pods_along() {
    for propagation in [Propagation::Background, Propagation::Foreground] {
        let cluster = Cluster::start().await;
        deploy(&cluster, "web", 2, "web:1").await;
        cluster.until("rolled out", |client| is_rolled_out(client, "web", 2)).await;
        let options = DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
        cluster.client.delete(&DEPLOYMENTS, "default", "web", options).await.expect("is deleted");
        cluster
            .until("all are gone", |client| {
                [&DEPLOYMENTS, &REPLICA_SETS, &PODS]
                    .iter()
                    .all(|row| client.list(row, Some("default")).items.is_empty())
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orphaning_deletion_leaves_pods_that_another_set_adopts() {
    let cluster = Cluster::start().await;
    deploy(&cluster, "web", 2, "web:1").await;
    cluster.until("rolled out", |client| is_rolled_out(client, "web", 2)).await;
    let pods: Vec<_> =
        cluster.client.list(&PODS, Some("default")).items.iter().map(|pod| pod.meta.uid.clone()).collect();
    let options = DeleteOptions { propagation: Some(Propagation::Orphan), ..DeleteOptions::default() };
    cluster.client.delete(&DEPLOYMENTS, "default", "web", options).await.expect("is deleted");
    cluster.until("it is gone", |client| client.get(&DEPLOYMENTS, "default", "web").is_none()).await;
    let set = cluster.client.list(&REPLICA_SETS, Some("default")).items.remove(0);
    assert!(set.meta.owner_references.is_empty());
    deploy(&cluster, "web", 2, "web:1").await;
    cluster.until("adopted", |client| is_rolled_out(client, "web", 2)).await;
    let after: Vec<_> =
        cluster.client.list(&PODS, Some("default")).items.iter().map(|pod| pod.meta.uid.clone()).collect();
    assert_eq!(after, pods);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_is_filled_at_its_birth_and_emptied_at_its_end() {
    let cluster = Cluster::start().await;
    add_namespace(&cluster.client, "team").await;
    cluster
        .until("its account and CA are there", |client| {
            client.get(&SERVICE_ACCOUNTS, "team", "default").is_some()
                && client.get(&CONFIG_MAPS, "team", "kube-root-ca.crt").is_some()
        })
        .await;
    create(&cluster.client, &DEPLOYMENTS, "team", deployment("web", 2, "web:1")).await;
    cluster.until("pods run", |client| client.list(&PODS, Some("team")).items.len() == 2).await;
    cluster.client.delete(&NAMESPACES, "", "team", DeleteOptions::default()).await.expect("is deleted");
    cluster.until("it is gone", |client| client.get(&NAMESPACES, "", "team").is_none()).await;
    for row in control_api::resource::all().iter().filter(|row| row.namespaced()) {
        assert!(cluster.client.list(row, Some("team")).items.is_empty(), "{} are left", row.plural);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_node_is_tainted_and_its_pods_do_not_count_as_ready() {
    let cluster = Cluster::start().await;
    deploy(&cluster, "web", 1, "web:1").await;
    cluster.until("rolled out", |client| is_rolled_out(client, "web", 1)).await;
    let taints = |client: &Client| {
        let node = value(&client.get(&NODES, "", NODE).expect("is there"));
        let taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
        taints.iter().map(|taint| format!("{}:{}", taint["key"], taint["effect"]).replace('"', "")).collect::<Vec<_>>()
    };
    set_ready(&cluster.client, NODE, "Unknown").await;
    cluster.until("the pod is not ready", |client| ready_pods(client) == 0).await;
    cluster
        .until("tainted", |client| taints(client).contains(&"node.kubernetes.io/unreachable:NoExecute".to_owned()))
        .await;
    set_ready(&cluster.client, NODE, "True").await;
    cluster.until("no taints are left", |client| taints(client).is_empty()).await;
    // The default toleration lets the pod stay for five minutes.
    assert_eq!(cluster.client.list(&PODS, Some("default")).items.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_of_a_deleted_node_are_removed() {
    let cluster = Cluster::start().await;
    deploy(&cluster, "web", 1, "web:1").await;
    cluster.until("rolled out", |client| is_rolled_out(client, "web", 1)).await;
    let pod = cluster.client.list(&PODS, Some("default")).items.remove(0);
    cluster.client.delete(&NODES, "", NODE, DeleteOptions::default()).await.expect("is deleted");
    cluster.until("the pod is gone", |client| client.get(&PODS, "default", &pod.key.name).is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_balancers_get_different_addresses_and_wait_for_one_that_is_given_back() {
    let cluster = Cluster::start().await;
    let address = |client: &Client, name: &str| {
        let service = value(&client.get(&SERVICES, "default", name).expect("is there"));
        service["status"]["loadBalancer"]["ingress"][0]["ip"].as_str().map(str::to_owned)
    };
    let service = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], "selector": {"a": "b"}}})
    };
    for name in ["a", "b"] {
        create(&cluster.client, &SERVICES, "default", service(name)).await;
    }
    cluster.until("both have one", |client| address(client, "a").is_some() && address(client, "b").is_some()).await;
    assert_ne!(address(&cluster.client, "a"), address(&cluster.client, "b"));
    let mut other = service("other");
    other["spec"]["loadBalancerClass"] = json!("example.com/other");
    create(&cluster.client, &SERVICES, "default", other).await;
    create(&cluster.client, &SERVICES, "default", service("c")).await;
    cluster
        .until("an Event says that the pool is empty", |client| {
            client.list(&EVENTS, Some("default")).items.iter().any(|event| value(event)["reason"] == "AllocationFailed")
        })
        .await;
    assert_eq!((address(&cluster.client, "c"), address(&cluster.client, "other")), (None, None));
    let freed = address(&cluster.client, "a");
    cluster.client.delete(&SERVICES, "default", "a", DeleteOptions::default()).await.expect("is deleted");
    cluster.until("the one that waited has it", |client| address(client, "c") == freed).await;
}
