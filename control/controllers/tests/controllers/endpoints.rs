//! What stands behind Services: slices, Endpoints, mirrors, and the API's own.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use control_api::resource::{ENDPOINT_SLICES, ENDPOINTS, NODES, PODS, SERVICE_ACCOUNTS, SERVICES};
use control_client::{Client, DeleteOptions, Feed, Object, Patch, Resource};
use serde_json::{Value, json};

use crate::cluster::{Cluster, NODE, add_namespace, client, create, value, world};

fn service(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": {"team": "a"}}, "spec": spec})
}

fn web_service() -> Value {
    let ports = json!([{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}]);
    service("web", json!({"clusterIP": "10.43.0.9", "selector": {"app": "web"}, "ports": ports}))
}

/// A pod with the port `web`, bound to a node that nobody stands in for: its status is the test's.
async fn add_pod(client: &Client, name: &str, ip: &str, port: i32, spec: Value) {
    let container = json!({"name": "main", "image": "broken", "ports": [{"name": "web", "containerPort": port}]});
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 30},
    });
    for (field, value) in spec.as_object().expect("fields of a spec") {
        pod["spec"][field] = value.clone();
    }
    create(client, &PODS, "default", pod).await;
    let target = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": NODE}});
    // The cluster's stand-in may have been faster.
    let _bound_already = client.create_subresource(&PODS, "default", name, "binding", target).await;
    set_pod(client, name, ip, false).await;
}

async fn set_pod(client: &Client, name: &str, ip: &str, ready: bool) {
    let status = if ready { "True" } else { "False" };
    let ips = json!([{"ip": ip}]);
    let status = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": ips,
        "conditions": [{"type": "Ready", "status": status}]}});
    client.patch(&PODS, "default", name, Some("status"), Patch::Strategic(status)).await.expect("status is taken");
}

fn slices(client: &Client, service: &str) -> Vec<Value> {
    let all = client.list(&ENDPOINT_SLICES, Some("default")).items;
    let of = |slice: &&Arc<Object>| slice.meta.labels.get("kubernetes.io/service-name").is_some_and(|it| it == service);
    all.iter().filter(of).map(|slice| value(slice)).collect()
}

fn endpoints_of(client: &Client, service: &str) -> Vec<Value> {
    let all = slices(client, service);
    all.iter().flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default()).collect()
}

fn get(client: &Client, resource: &'static Resource, name: &str) -> Option<Value> {
    client.get(resource, "default", name).map(|object| value(&object))
}

fn conditions(client: &Client) -> Vec<Value> {
    endpoints_of(client, "web").iter().map(|endpoint| endpoint["conditions"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_is_listed_not_ready_then_ready_then_terminating_then_gone() {
    let cluster = Cluster::start().await;
    let client = &cluster.client;
    create(client, &SERVICES, "default", web_service()).await;
    cluster.until("an empty slice", |client| slices(client, "web").len() == 1).await;
    cluster.until("empty Endpoints", |client| get(client, &ENDPOINTS, "web").is_some()).await;
    add_pod(client, "a", "10.42.0.5", 8080, json!({})).await;
    let says = |ready, serving, terminating| {
        move |client: &Client| {
            conditions(client) == [json!({"ready": ready, "serving": serving, "terminating": terminating})]
        }
    };
    cluster.until("listed", says(false, false, false)).await;
    cluster
        .until("in Endpoints, not ready", |client| {
            let endpoints = get(client, &ENDPOINTS, "web").expect("is there");
            endpoints["subsets"][0]["notReadyAddresses"][0]["ip"] == "10.42.0.5"
        })
        .await;
    set_pod(client, "a", "10.42.0.5", true).await;
    cluster.until("ready", says(true, true, false)).await;
    let slice = slices(client, "web").remove(0);
    assert_eq!(slice["addressType"], "IPv4");
    assert_eq!(slice["ports"], json!([{"name": "http", "port": 8080, "protocol": "TCP"}]));
    assert_eq!(slice["endpoints"][0]["targetRef"]["name"], "a");
    assert_eq!(slice["endpoints"][0]["nodeName"], NODE);
    let labels = &slice["metadata"]["labels"];
    assert_eq!(labels["endpointslice.kubernetes.io/managed-by"], "endpointslice-controller.k8s.io");
    assert_eq!(labels["team"], "a");
    assert!(labels["service.kubernetes.io/headless"].is_null());
    let owner = &slice["metadata"]["ownerReferences"][0];
    assert_eq!(
        (&owner["kind"], &owner["name"], &owner["controller"]),
        (&json!("Service"), &json!("web"), &json!(true))
    );
    cluster
        .until("ready in Endpoints", |client| {
            let endpoints = get(client, &ENDPOINTS, "web").expect("is there");
            endpoints["subsets"][0]["addresses"][0]["ip"] == "10.42.0.5"
                && endpoints["subsets"][0]["notReadyAddresses"].is_null()
                && endpoints["metadata"]["labels"]["endpoints.kubernetes.io/managed-by"] == "endpoint-controller"
        })
        .await;
    client.delete(&PODS, "default", "a", DeleteOptions::default()).await.expect("is deleted");
    cluster.until("gone, but the slice stays", |client| endpoints_of(client, "web").is_empty()).await;
    assert_eq!(slices(client, "web").len(), 1);
}

/// A cluster where nobody runs pods: they end only when the test says so.
async fn still() -> Client {
    let (_, client) = client();
    add_namespace(&client, "default").await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    create(&client, &SERVICE_ACCOUNTS, "default", account).await;
    client
}

/// What the slice controller decides about Service `web`, carried out.
async fn reconcile(client: &Client, resource: &'static Resource, name: &str) -> usize {
    use control_controllers::endpoint_slice::EndpointSliceController;
    use control_controllers::{Action, Controller};
    let key = control_client::Key::new(resource, "default", name);
    let actions = EndpointSliceController.reconcile(&world(client), &key).expect("is decided");
    let writes = actions.len();
    for action in actions {
        match action {
            Action::Create { resource, namespace, object, .. } => {
                drop(create(client, resource, &namespace, object).await)
            }
            Action::Patch { key, patch } => {
                client.patch(key.resource, &key.namespace, &key.name, None, patch).await.expect("is patched");
            }
            Action::Delete { key, options, .. } => {
                client.delete(key.resource, &key.namespace, &key.name, options).await.expect("is deleted");
            }
            other => panic!("{other:?}"),
        }
    }
    writes
}

#[tokio::test]
async fn a_terminating_pod_serves_until_it_is_gone_and_publishing_all_makes_it_ready() {
    let client = still().await;
    create(&client, &SERVICES, "default", web_service()).await;
    add_pod(&client, "a", "10.42.0.5", 8080, json!({})).await;
    set_pod(&client, "a", "10.42.0.5", true).await;
    client.delete(&PODS, "default", "a", DeleteOptions::default()).await.expect("is asked to end");
    reconcile(&client, &SERVICES, "web").await;
    assert_eq!(conditions(&client), [json!({"ready": false, "serving": true, "terminating": true})]);
    let all = Patch::Merge(json!({"spec": {"publishNotReadyAddresses": true}}));
    client.patch(&SERVICES, "default", "web", None, all).await.expect("is patched");
    assert_eq!(reconcile(&client, &SERVICES, "web").await, 1);
    assert_eq!(conditions(&client), [json!({"ready": true, "serving": true, "terminating": true})]);
    assert_eq!(reconcile(&client, &SERVICES, "web").await, 0);
}

#[tokio::test]
async fn pods_with_another_number_for_the_same_name_are_in_another_slice() {
    let client = still().await;
    create(&client, &SERVICES, "default", web_service()).await;
    add_pod(&client, "a", "10.42.0.5", 8080, json!({})).await;
    add_pod(&client, "b", "10.42.0.6", 9090, json!({})).await;
    reconcile(&client, &SERVICES, "web").await;
    let mut ports: Vec<i64> =
        slices(&client, "web").iter().map(|slice| slice["ports"][0]["port"].as_i64().expect("a number")).collect();
    ports.sort_unstable();
    assert_eq!(ports, [8080, 9090]);
}

#[tokio::test]
async fn a_headless_service_without_ports_names_its_pods() {
    let client = still().await;
    let spec = json!({"clusterIP": "None", "selector": {"app": "web"}});
    create(&client, &SERVICES, "default", service("web", spec)).await;
    add_pod(&client, "a", "10.42.0.5", 8080, json!({"hostname": "first", "subdomain": "web"})).await;
    add_pod(&client, "b", "10.42.0.6", 8080, json!({"hostname": "second", "subdomain": "other"})).await;
    reconcile(&client, &SERVICES, "web").await;
    let slice = slices(&client, "web").remove(0);
    assert_eq!(slice["metadata"]["labels"]["service.kubernetes.io/headless"], "");
    assert!(slice["ports"].as_array().is_none_or(Vec::is_empty));
    let mut names: Vec<Value> =
        endpoints_of(&client, "web").iter().map(|endpoint| endpoint["hostname"].clone()).collect();
    names.sort_by_key(ToString::to_string);
    assert_eq!(names, [json!("first"), Value::Null]);
}

#[tokio::test]
async fn a_hundred_endpoints_fill_a_slice_and_a_change_writes_one_slice() {
    let client = still().await;
    create(&client, &SERVICES, "default", web_service()).await;
    for number in 0..230 {
        add_pod(&client, &format!("p{number}"), &format!("10.42.1.{number}"), 8080, json!({})).await;
    }
    assert_eq!(reconcile(&client, &SERVICES, "web").await, 3);
    let sizes = |client: &Client| {
        let mut sizes: Vec<usize> =
            slices(client, "web").iter().map(|slice| slice["endpoints"].as_array().expect("a list").len()).collect();
        sizes.sort_unstable();
        sizes
    };
    assert_eq!(sizes(&client), [30, 100, 100]);
    set_pod(&client, "p7", "10.42.1.7", true).await;
    assert_eq!(reconcile(&client, &SERVICES, "web").await, 1);
    add_pod(&client, "late", "10.42.2.1", 8080, json!({})).await;
    assert_eq!(reconcile(&client, &SERVICES, "web").await, 1);
    assert_eq!(sizes(&client), [31, 100, 100]);
    assert_eq!(reconcile(&client, &SERVICES, "web").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slices_and_endpoints_go_with_the_selector_and_with_the_service() {
    let cluster = Cluster::start().await;
    let client = &cluster.client;
    let none = |client: &Client| slices(client, "web").is_empty() && get(client, &ENDPOINTS, "web").is_none();
    create(client, &SERVICES, "default", web_service()).await;
    cluster.until("both are made", |client| !slices(client, "web").is_empty() && !none(client)).await;
    cluster.apply(&SERVICES, "web", json!({"spec": {"selector": null}})).await;
    cluster.until("the selector is gone", none).await;
    cluster.apply(&SERVICES, "web", json!({"spec": {"selector": {"app": "web"}}})).await;
    cluster
        .until("both are back", |client| !slices(client, "web").is_empty() && get(client, &ENDPOINTS, "web").is_some())
        .await;
    client.delete(&SERVICES, "default", "web", DeleteOptions::default()).await.expect("is deleted");
    cluster.until("the Service is gone", none).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_that_a_user_wrote_are_mirrored_and_follow_him() {
    let cluster = Cluster::start().await;
    let client = &cluster.client;
    let subsets = |ip: &str| {
        json!([{"addresses": [{"ip": ip}], "notReadyAddresses": [{"ip": "192.0.2.9"}],
            "ports": [{"name": "sql", "port": 5432}]}])
    };
    let object = json!({"apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": "db", "annotations": {"note": "mine"}}, "subsets": subsets("192.0.2.1")});
    create(client, &ENDPOINTS, "default", object).await;
    create(client, &SERVICES, "default", service("db", json!({"clusterIP": "10.43.0.8", "ports": [{"port": 5432}]})))
        .await;
    let ready = |client: &Client| {
        let mut all = endpoints_of(client, "db");
        all.sort_by_key(|endpoint| endpoint["addresses"].to_string());
        all.iter().map(|one| (one["addresses"][0].clone(), one["conditions"]["ready"].clone())).collect::<Vec<_>>()
    };
    let first = [(json!("192.0.2.1"), json!(true)), (json!("192.0.2.9"), json!(false))];
    cluster.until("mirrored", |client| ready(client) == first).await;
    let slice = slices(client, "db").remove(0);
    let manager = "endpointslicemirroring-controller.k8s.io";
    assert_eq!(slice["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"], manager);
    assert_eq!(slice["metadata"]["annotations"]["note"], "mine");
    cluster.apply(&ENDPOINTS, "db", json!({"subsets": subsets("192.0.2.2")})).await;
    cluster.until("followed", |client| ready(client).first().is_some_and(|one| one.0 == "192.0.2.2")).await;
    client.delete(&ENDPOINTS, "default", "db", DeleteOptions::default()).await.expect("is deleted");
    cluster.until("gone with it", |client| slices(client, "db").is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_apis_own_endpoints_follow_the_servers_addresses_and_are_mended() {
    let cluster = Cluster::start().await;
    let client = &cluster.client;
    let leads_to = |ip: &'static str| {
        move |client: &Client| {
            let slice = get(client, &ENDPOINT_SLICES, "kubernetes").unwrap_or_default();
            let endpoints = get(client, &ENDPOINTS, "kubernetes").unwrap_or_default();
            slice["endpoints"][0]["addresses"][0] == ip && endpoints["subsets"][0]["addresses"][0]["ip"] == ip
        }
    };
    cluster.until("they are there", leads_to("192.168.1.7")).await;
    let slice = get(client, &ENDPOINT_SLICES, "kubernetes").expect("is there");
    assert_eq!(slice["ports"], json!([{"name": "https", "port": 6443, "protocol": "TCP"}]));
    cluster.addresses.send_replace(vec![IpAddr::from([192, 168, 1, 8])]);
    cluster.until("they moved", leads_to("192.168.1.8")).await;
    client.delete(&ENDPOINT_SLICES, "default", "kubernetes", DeleteOptions::default()).await.expect("is deleted");
    cluster.until("it is back", leads_to("192.168.1.8")).await;
    assert_eq!(slices(client, "kubernetes").len(), 1, "the Endpoints are not mirrored beside it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pods_readiness_reaches_its_slice_at_once_among_a_thousand_services() {
    const SERVICES_COUNT: usize = 1000;
    let cluster = Cluster::start().await;
    let client = &cluster.client;
    for number in 0..SERVICES_COUNT {
        let spec = json!({"clusterIP": format!("10.43.{}.{}", 1 + number / 250, 1 + number % 250),
            "selector": {"app": format!("app{number}"), "tier": "x"}, "ports": [{"port": 80}]});
        create(client, &SERVICES, "default", service(&format!("s{number}"), spec)).await;
    }
    create(client, &SERVICES, "default", web_service()).await;
    add_pod(client, "a", "10.42.0.5", 8080, json!({})).await;
    cluster
        .until("all slices are there", |client| {
            client.list(&ENDPOINT_SLICES, Some("default")).items.len() > SERVICES_COUNT + 1
        })
        .await;
    cluster.until("listed", |client| conditions(client).len() == 1).await;
    let mut took: Vec<Duration> = Vec::new();
    for round in 0..20 {
        let ready = round % 2 == 0;
        let mut feed = Feed::new(client, [&ENDPOINT_SLICES]);
        feed.next().await;
        let start = Instant::now();
        set_pod(client, "a", "10.42.0.5", ready).await;
        while conditions_of_web(client)["ready"] != ready {
            feed.next().await;
        }
        took.push(start.elapsed());
    }
    took.sort();
    println!("from a pod's status to its slice: p50 {:?}, worst {:?}", took[took.len() / 2], took[took.len() - 1]);
    // The fastest: whatever else the machine does makes others slower, and a look at all slices would make all slow.
    assert!(took[0] < Duration::from_millis(50), "{took:?}");
}

/// Without a look at the other slices.
fn conditions_of_web(client: &Client) -> Value {
    let service = client.get(&SERVICES, "default", "web").expect("is there");
    let slice = world(client).index().owned(&ENDPOINT_SLICES, &service.meta.uid).remove(0);
    value(&slice)["endpoints"][0]["conditions"].clone()
}

#[tokio::test]
async fn a_nodes_zone_is_told() {
    let client = still().await;
    let labels = json!({"topology.kubernetes.io/zone": "attic"});
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": labels}});
    create(&client, &NODES, "", node).await;
    create(&client, &SERVICES, "default", web_service()).await;
    add_pod(&client, "a", "10.42.0.5", 8080, json!({})).await;
    reconcile(&client, &SERVICES, "web").await;
    assert_eq!(endpoints_of(&client, "web")[0]["zone"], "attic");
}
