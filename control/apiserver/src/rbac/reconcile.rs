//! The default roles and bindings at a start: made where they are missing, mended where they lack something, left
//! alone where their annotation says so. What someone added to them stays.

use control_api::resource::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES};
use control_api::{Reason, Resource, Status};
use control_store::Key;
use serde_json::{Value, json};

use super::cover;
use super::defaults::{self, AUTOUPDATE};
use super::rule::Rule;
use crate::api::Api;
use crate::call::{Call, DeleteOptions, User, Verb, WriteOptions};
use crate::negotiate::parse;

/// Makes and mends all of them. Call it before serving.
pub async fn reconcile(api: &Api) -> Result<(), Status> {
    for role in defaults::cluster_roles() {
        ensure(api, &CLUSTER_ROLES, role, mend_role).await?;
    }
    for binding in defaults::cluster_role_bindings() {
        ensure(api, &CLUSTER_ROLE_BINDINGS, binding, mend_binding).await?;
    }
    Ok(())
}

fn call(resource: &'static Resource, name: &str, verb: Verb) -> Call {
    Call {
        user: User::system("system:apiserver"),
        verb,
        resource,
        subresource: None,
        namespace: String::new(),
        name: name.to_owned(),
        options: WriteOptions::default(),
    }
}

/// What a found object becomes; nothing where it cannot be changed and must be made anew.
type Mend = fn(&Value, &Value) -> Option<Value>;

async fn ensure(api: &Api, resource: &'static Resource, wanted: Value, mend: Mend) -> Result<(), Status> {
    let name = wanted["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let Some(found) = api.store().get(&Key::new(resource, "", &name)) else {
        return create(api, resource, wanted).await;
    };
    let found = parse(&found)?;
    if found["metadata"]["annotations"][AUTOUPDATE] == "false" {
        return Ok(());
    }
    match mend(&found, &wanted) {
        Some(mended) if mended == found => Ok(()),
        Some(mended) => api.call(call(resource, &name, Verb::Update(mended))).await.map(|_| ()),
        None => {
            api.call(call(resource, &name, Verb::Delete(DeleteOptions::default()))).await?;
            create(api, resource, wanted).await
        }
    }
}

async fn create(api: &Api, resource: &'static Resource, wanted: Value) -> Result<(), Status> {
    match api.call(call(resource, "", Verb::Create(wanted))).await {
        Err(status) if status.reason == Reason::AlreadyExists => Ok(()),
        done => done.map(|_| ()),
    }
}

/// Labels and annotations that are missing.
fn mend_metadata(found: &Value, wanted: &Value) -> Value {
    let mut mended = found.clone();
    for field in ["labels", "annotations"] {
        for (key, value) in wanted["metadata"][field].as_object().into_iter().flatten() {
            if mended["metadata"][field].get(key).is_none() {
                mended["metadata"][field][key] = value.clone();
            }
        }
    }
    mended
}

fn mend_role(found: &Value, wanted: &Value) -> Option<Value> {
    let mut mended = mend_metadata(found, wanted);
    if !wanted["aggregationRule"].is_null() {
        // The rules are the aggregation's.
        mended["aggregationRule"] = wanted["aggregationRule"].clone();
        return Some(mended);
    }
    let rules = |object: &Value| serde_json::from_value::<Vec<Rule>>(object["rules"].clone()).unwrap_or_default();
    let owned = rules(found);
    let missing = wanted["rules"].as_array().into_iter().flatten().filter(|rule| {
        let rule: Rule = serde_json::from_value((*rule).clone()).unwrap_or_default();
        !cover::missing(&owned, &[rule]).is_empty()
    });
    let missing: Vec<Value> = missing.cloned().collect();
    if !missing.is_empty() {
        let mut all = mended["rules"].as_array().cloned().unwrap_or_default();
        all.extend(missing);
        mended["rules"] = all.into();
    }
    Some(mended)
}

/// A binding to another role cannot be changed into this one.
fn mend_binding(found: &Value, wanted: &Value) -> Option<Value> {
    if found["roleRef"] != wanted["roleRef"] {
        return None;
    }
    let mut mended = mend_metadata(found, wanted);
    let mut subjects = mended["subjects"].as_array().cloned().unwrap_or_default();
    let known = subjects.len();
    for subject in wanted["subjects"].as_array().into_iter().flatten() {
        let same = |other: &Value| ["kind", "name", "namespace"].iter().all(|key| other[key] == subject[key]);
        if !subjects.iter().any(same) {
            subjects.push(subject.clone());
        }
    }
    if subjects.len() > known {
        mended["subjects"] = json!(subjects);
    }
    Some(mended)
}
