//! What every namespace holds: ServiceAccount `default` and ConfigMap `kube-root-ca.crt`.

use control_api::resource::{CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS};
use control_client::{Key, Resource};
use serde_json::{Value, json};

use crate::action::Action;
use crate::controller::{self, Change, Controller, Input};
use crate::error::Error;
use crate::world::{World, view};

const ACCOUNT: &str = "default";
const ROOT_CA: &str = "kube-root-ca.crt";
const CA_KEY: &str = "ca.crt";
/// As Kubernetes describes the ConfigMap.
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
                           endpoints such as the internal service IP or kubernetes.default.svc. No other usage is \
                           guaranteed across distributions of Kubernetes clusters.";

static OUTPUTS: [&Resource; 2] = [&SERVICE_ACCOUNTS, &CONFIG_MAPS];

pub struct ServiceAccountController {
    ca_pem: String,
}

impl ServiceAccountController {
    pub fn new(ca_pem: String) -> Self {
        Self { ca_pem }
    }
}

impl Controller for ServiceAccountController {
    fn name(&self) -> &'static str {
        "serviceaccount-controller"
    }

    fn inputs(&self) -> Vec<Input> {
        vec![
            Input { resource: &NAMESPACES, keys: controller::itself },
            Input { resource: &SERVICE_ACCOUNTS, keys: namespace_of },
            Input { resource: &CONFIG_MAPS, keys: namespace_of },
        ]
    }

    fn outputs(&self) -> &'static [&'static Resource] {
        &OUTPUTS
    }

    fn reconcile(&self, world: &World, key: &Key) -> Result<Vec<Action>, Error> {
        let Some(namespace) = world.get(key) else { return Ok(Vec::new()) };
        if namespace.meta.deletion_timestamp.is_some() {
            return Ok(Vec::new());
        }
        let mut actions = Vec::new();
        if world.get(&Key::new(&SERVICE_ACCOUNTS, &key.name, ACCOUNT)).is_none() {
            let object = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT}});
            actions.push(create(&SERVICE_ACCOUNTS, &key.name, object));
        }
        actions.extend(self.root_ca(world, &key.name)?);
        Ok(actions)
    }
}

impl ServiceAccountController {
    fn root_ca(&self, world: &World, namespace: &str) -> Result<Option<Action>, Error> {
        let key = Key::new(&CONFIG_MAPS, namespace, ROOT_CA);
        let Some(found) = world.get(&key) else {
            let metadata = json!({"name": ROOT_CA, "annotations": {"kubernetes.io/description": DESCRIPTION}});
            let data = json!({CA_KEY: self.ca_pem});
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data});
            return Ok(Some(create(&CONFIG_MAPS, namespace, object)));
        };
        let raw: Value = view(&found)?;
        let right = raw["data"][CA_KEY] == *self.ca_pem;
        Ok((!right).then(|| Action::merge(&key, json!({"data": {CA_KEY: self.ca_pem}}))))
    }
}

fn create(resource: &'static Resource, namespace: &str, mut object: Value) -> Action {
    object["metadata"]["namespace"] = json!(namespace);
    Action::Create { resource, namespace: namespace.to_owned(), object, announce: None }
}

fn namespace_of(_: &World, change: &Change<'_>) -> Vec<Key> {
    let key = &change.object.key;
    if &*key.name == ACCOUNT || &*key.name == ROOT_CA {
        vec![Key::new(&NAMESPACES, "", &key.namespace)]
    } else {
        Vec::new()
    }
}
