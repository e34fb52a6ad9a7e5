//! Stories of volumes and claims; the test stands in for the scheduler and the node.

use control_api::resource::{NAMESPACES, NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, STORAGE_CLASSES};
use control_client::{Client, DeleteOptions, Patch};
use serde_json::{Value, json};

use crate::cluster::{Cluster, NODE, create, value};

fn claim(name: &str, spec: Value) -> Value {
    let mut claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    for (field, value) in spec.as_object().expect("a spec") {
        claim["spec"][field] = value.clone();
    }
    claim
}

fn volume(name: &str, size: &str, class: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": size}, "hostPath": {"path": "/srv/x"},
            "storageClassName": class,
        },
    })
}

fn get(client: &Client, row: &'static control_client::Resource, name: &str) -> Value {
    let namespace = if row.namespaced() { "default" } else { "" };
    client.get(row, namespace, name).map(|object| value(&object)).unwrap_or_default()
}

fn claim_of(client: &Client, name: &str) -> Value {
    get(client, &PERSISTENT_VOLUME_CLAIMS, name)
}

fn volume_of(client: &Client, name: &str) -> Value {
    get(client, &PERSISTENT_VOLUMES, name)
}

async fn with_class() -> Cluster {
    let cluster = Cluster::start().await;
    let hostname = Patch::Merge(json!({"metadata": {"labels": {"kubernetes.io/hostname": NODE}}}));
    cluster.client.patch(&NODES, "", NODE, None, hostname).await.expect("is labelled");
    cluster.until("the class is there", |client| client.get(&STORAGE_CLASSES, "", "local-path").is_some()).await;
    let made = |client: &Client| {
        get(client, &NAMESPACES, "kube-system")["metadata"]["annotations"]["bramble.dev/local-path-class-made"]
            == "true"
    };
    cluster.until("and remembered", made).await;
    cluster
}

async fn select_node(cluster: &Cluster, claim: &str) {
    let selected = json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": NODE}}});
    cluster.apply(&PERSISTENT_VOLUME_CLAIMS, claim, selected).await;
}

fn pod(name: &str, claim: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "containers": [{"name": "main", "image": "web"}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}],
        },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_without_a_class_gets_local_path_and_a_volume_on_the_node_of_its_pod() {
    let cluster = with_class().await;
    create(&cluster.client, &PERSISTENT_VOLUME_CLAIMS, "default", claim("data", json!({}))).await;
    let waiting = "waiting for first consumer to be created before binding";
    cluster.until("it waits", |_| cluster.events("WaitForFirstConsumer") == [waiting]).await;
    let made = claim_of(&cluster.client, "data");
    assert_eq!(made["spec"]["storageClassName"], "local-path");
    assert_eq!(made["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
    select_node(&cluster, "data").await;
    cluster.until("it is bound", |client| claim_of(client, "data")["status"]["phase"] == "Bound").await;
    let bound = claim_of(&cluster.client, "data");
    let name = bound["spec"]["volumeName"].as_str().unwrap().to_owned();
    assert_eq!(name, format!("pvc-{}", bound["metadata"]["uid"].as_str().unwrap()));
    assert_eq!(bound["status"]["capacity"]["storage"], "1Gi");
    cluster.until("so is its volume", |client| volume_of(client, &name)["status"]["phase"] == "Bound").await;
    let made = volume_of(&cluster.client, &name);
    let path = format!("/var/lib/bramble/local-path/{name}_default_data");
    assert_eq!(made["spec"]["hostPath"]["path"], path);
    let expression = &made["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0];
    assert_eq!(expression, &json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}));

    // In use, it stays; then it goes, and its volume waits for the node to remove the data.
    create(&cluster.client, &PODS, "default", pod("web", "data")).await;
    cluster.until("the pod runs", |client| get(client, &PODS, "web")["status"]["phase"] == "Running").await;
    let delete = || cluster.client.delete(&PERSISTENT_VOLUME_CLAIMS, "default", "data", DeleteOptions::default());
    delete().await.expect("is asked to go");
    create(&cluster.client, &PERSISTENT_VOLUME_CLAIMS, "default", claim("other", json!({}))).await;
    cluster.until("time has passed", |_| cluster.events("WaitForFirstConsumer").len() == 2).await;
    assert!(claim_of(&cluster.client, "data")["metadata"]["deletionTimestamp"].is_string());
    cluster.client.delete(&PODS, "default", "web", DeleteOptions::default()).await.expect("is deleted");
    cluster.until("it is gone", |client| claim_of(client, "data").is_null()).await;
    cluster
        .until("its volume waits for the node alone", |client| {
            let volume = volume_of(client, &name);
            volume["status"]["phase"] == "Released"
                && volume["metadata"]["deletionTimestamp"].is_string()
                && volume["metadata"]["finalizers"] == json!(["bramble.dev/local-path"])
        })
        .await;
    cluster.client.delete(&NODES, "", NODE, DeleteOptions::default()).await.expect("is deleted");
    cluster.until("without the node it goes", |client| volume_of(client, &name).is_null()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_takes_the_smallest_volume_that_suits_and_gives_it_back_to_be_kept() {
    let cluster = Cluster::start().await;
    for (name, size) in [("small", "500Mi"), ("big", "10Gi"), ("right", "2Gi")] {
        create(&cluster.client, &PERSISTENT_VOLUMES, "", volume(name, size, "manual")).await;
    }
    create(&cluster.client, &PERSISTENT_VOLUMES, "", volume("other", "1Gi", "fast")).await;
    let wanted = claim("data", json!({"storageClassName": "manual"}));
    create(&cluster.client, &PERSISTENT_VOLUME_CLAIMS, "default", wanted).await;
    cluster.until("it is bound", |client| claim_of(client, "data")["status"]["phase"] == "Bound").await;
    assert_eq!(claim_of(&cluster.client, "data")["spec"]["volumeName"], "right");
    assert_eq!(claim_of(&cluster.client, "data")["status"]["capacity"]["storage"], "2Gi");
    cluster
        .until("phases are told", |client| {
            volume_of(client, "right")["status"]["phase"] == "Bound"
                && volume_of(client, "big")["status"]["phase"] == "Available"
        })
        .await;
    // A bound volume stays although it was asked to go.
    cluster.client.delete(&PERSISTENT_VOLUMES, "", "right", DeleteOptions::default()).await.expect("is asked to go");
    let delete = cluster.client.delete(&PERSISTENT_VOLUME_CLAIMS, "default", "data", DeleteOptions::default());
    assert!(volume_of(&cluster.client, "right").is_object());
    delete.await.expect("is deleted");
    cluster.until("both are gone", |client| volume_of(client, "right").is_null()).await;
    let wanted = claim("data", json!({"storageClassName": "manual"}));
    create(&cluster.client, &PERSISTENT_VOLUME_CLAIMS, "default", wanted).await;
    cluster.until("the next suits too", |client| claim_of(client, "data")["spec"]["volumeName"] == "big").await;
    cluster.until("both say so", |client| volume_of(client, "big")["status"]["phase"] == "Bound").await;
    cluster
        .client
        .delete(&PERSISTENT_VOLUME_CLAIMS, "default", "data", DeleteOptions::default())
        .await
        .expect("is deleted");
    cluster.until("it is kept", |client| volume_of(client, "big")["status"]["phase"] == "Released").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_claims_never_get_one_volume_and_a_volume_set_aside_waits_for_its_claim() {
    let cluster = Cluster::start().await;
    let mut aside = volume("aside", "5Gi", "manual");
    aside["spec"]["claimRef"] = json!({"namespace": "default", "name": "chosen"});
    create(&cluster.client, &PERSISTENT_VOLUMES, "", aside).await;
    let wanted = |name: &str| claim(name, json!({"storageClassName": "manual"}));
    for name in ["a", "b"] {
        create(&cluster.client, &PERSISTENT_VOLUME_CLAIMS, "default", wanted(name)).await;
    }
    create(&cluster.client, &PERSISTENT_VOLUMES, "", volume("one", "5Gi", "manual")).await;
    let phases = |client: &Client| {
        let phase = |name: &str| claim_of(client, name)["status"]["phase"].as_str().unwrap_or_default().to_owned();
        let mut phases = [phase("a"), phase("b")];
        phases.sort();
        phases
    };
    cluster.until("one is bound", |client| phases(client) == ["Bound", "Pending"]).await;
    create(&cluster.client, &PERSISTENT_VOLUME_CLAIMS, "default", wanted("chosen")).await;
    cluster.until("it is bound", |client| claim_of(client, "chosen")["spec"]["volumeName"] == "aside").await;
    create(&cluster.client, &PERSISTENT_VOLUMES, "", volume("two", "5Gi", "manual")).await;
    cluster.until("both are bound", |client| phases(client) == ["Bound", "Bound"]).await;
    assert_ne!(
        claim_of(&cluster.client, "a")["spec"]["volumeName"],
        claim_of(&cluster.client, "b")["spec"]["volumeName"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_made_is_told_and_a_deleted_class_stays_deleted() {
    let cluster = with_class().await;
    let many = claim("many", json!({"accessModes": ["ReadWriteMany"]}));
    create(&cluster.client, &PERSISTENT_VOLUME_CLAIMS, "default", many).await;
    select_node(&cluster, "many").await;
    let fails = |what: &'static str| {
        let cluster = &cluster;
        move |_: &Client| cluster.events("ProvisioningFailed").iter().any(|message| message.contains(what))
    };
    cluster.until("many nodes are refused", fails("cannot be ReadWriteMany")).await;
    let class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "now"},
        "provisioner": "bramble.dev/local-path", "volumeBindingMode": "Immediate",
    });
    create(&cluster.client, &STORAGE_CLASSES, "", class).await;
    let now = claim("now", json!({"storageClassName": "now"}));
    create(&cluster.client, &PERSISTENT_VOLUME_CLAIMS, "default", now).await;
    cluster.until("a node is missed", fails("volumeBindingMode must be WaitForFirstConsumer")).await;
    let lost = claim("lost", json!({"storageClassName": "nowhere"}));
    create(&cluster.client, &PERSISTENT_VOLUME_CLAIMS, "default", lost).await;
    cluster.until("a class is missed", fails("storageclass.storage.k8s.io \"nowhere\" not found")).await;

    cluster.client.delete(&STORAGE_CLASSES, "", "local-path", DeleteOptions::default()).await.expect("is deleted");
    let touched = Patch::Merge(json!({"metadata": {"labels": {"touched": "yes"}}}));
    cluster.client.patch(&NAMESPACES, "", "kube-system", None, touched).await.expect("is touched");
    let plain = claim("plain", json!({}));
    create(&cluster.client, &PERSISTENT_VOLUME_CLAIMS, "default", plain).await;
    let none = "no persistent volumes available for this claim and no storage class is set";
    cluster.until("there is no class", |_| cluster.events("FailedBinding").contains(&none.to_owned())).await;
    assert!(cluster.client.get(&STORAGE_CLASSES, "", "local-path").is_none());
}
