//! The two Services that every cluster has: the API's own and the cluster DNS's. They have no selector; their endpoints
//! are the controllers' and the nodes' to know. Whoever changes or deletes them gets them back at once.

use std::sync::Arc;

use control_api::resource::SERVICES;
use control_api::{Reason, Status};
use control_store::{Event, Key};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::api::Api;
use crate::call::{Call, DeleteOptions, Reply, User, Verb, WriteOptions};
use crate::negotiate::parse;

/// Namespace and name of the API's Service.
pub const API_SERVICE: (&str, &str) = ("default", "kubernetes");
/// Namespace and name of the cluster DNS's Service.
pub const DNS_SERVICE: (&str, &str) = ("kube-system", "kube-dns");
const HTTPS_PORT: u16 = 443;
const DNS_PORT: u16 = 53;

/// Creates and mends both. `port` is where this server is reached.
pub async fn make(api: &Api, port: u16) -> Result<(), Status> {
    for wanted in [api_service(api, port), dns_service(api)] {
        mend(api, wanted).await?;
    }
    Ok(())
}

/// Mends both whenever somebody changed one, until `stopping` says true.
pub async fn keep(api: Arc<Api>, port: u16, mut stopping: watch::Receiver<bool>) {
    loop {
        let from = api.store().revision();
        let mended = make(&api, port).await;
        if let Err(status) = &mended {
            tracing::warn!(error = %status.message, "the cluster's own Services cannot be mended");
        }
        let Ok(mut events) = api.store().watch(&SERVICES, from) else { continue };
        loop {
            tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => return,
                next = events.next() => match next {
                    // An event of our own mending finds nothing to do.
                    Ok(events) if events.iter().any(is_standing) => break,
                    Ok(_) => {}
                    Err(_) => break,
                },
            }
        }
    }
}

fn is_standing(event: &Event) -> bool {
    let key = &event.object.key;
    [API_SERVICE, DNS_SERVICE].contains(&(&*key.namespace, &*key.name))
}

fn api_service(api: &Api, port: u16) -> Value {
    let address = api.allocator.ranges.services.api_address();
    let ports = json!([{"name": "https", "protocol": "TCP", "port": HTTPS_PORT, "targetPort": port}]);
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    service(API_SERVICE, &address.to_string(), &labels, &ports)
}

fn dns_service(api: &Api) -> Value {
    let address = api.allocator.ranges.services.dns_address();
    let port = |name: &str, protocol: &str| json!({"name": name, "protocol": protocol, "port": DNS_PORT, "targetPort": DNS_PORT});
    let labels = json!({
        "k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS",
    });
    service(DNS_SERVICE, &address.to_string(), &labels, &json!([port("dns", "UDP"), port("dns-tcp", "TCP")]))
}

fn service((namespace, name): (&str, &str), address: &str, labels: &Value, ports: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "type": "ClusterIP", "clusterIP": address, "clusterIPs": [address],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster",
            "sessionAffinity": "None", "ports": ports,
        },
    })
}

async fn mend(api: &Api, wanted: Value) -> Result<(), Status> {
    let text = |field: &str| wanted["metadata"][field].as_str().unwrap_or_default().to_owned();
    let (namespace, name) = (text("namespace"), text("name"));
    let found = api.store().get(&Key::new(&SERVICES, &namespace, &name));
    let Some(found) = found else { return create(api, wanted).await };
    let current = parse(&found)?;
    let mut mended = current.clone();
    mended["spec"] = wanted["spec"].clone();
    for (key, value) in wanted["metadata"]["labels"].as_object().into_iter().flatten() {
        mended["metadata"]["labels"][key] = value.clone();
    }
    if mended == current {
        return Ok(());
    }
    // Whatever version is there now, this is how it is to be.
    mended["metadata"]["resourceVersion"] = json!("");
    match call(api, Verb::Update(mended), &namespace, &name).await {
        Ok(_) => Ok(()),
        // An address cannot change; with another range the Service begins anew.
        Err(status) if status.reason == Reason::Invalid => {
            call(api, Verb::Delete(DeleteOptions::default()), &namespace, &name).await?;
            create(api, wanted).await
        }
        // Deleted meanwhile.
        Err(status) if status.reason == Reason::NotFound => create(api, wanted).await,
        Err(status) => Err(status),
    }
}

async fn create(api: &Api, wanted: Value) -> Result<(), Status> {
    let namespace = wanted["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
    match call(api, Verb::Create(wanted), &namespace, "").await {
        Ok(_) => Ok(()),
        Err(status) if status.reason == Reason::AlreadyExists => Ok(()),
        Err(status) => Err(status),
    }
}

async fn call(api: &Api, verb: Verb, namespace: &str, name: &str) -> Result<Reply, Status> {
    let call = Call {
        user: User::system("system:apiserver"),
        verb,
        resource: &SERVICES,
        subresource: None,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        options: WriteOptions::default(),
    };
    api.call(call).await
}
