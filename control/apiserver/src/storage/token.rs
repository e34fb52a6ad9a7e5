//! `serviceaccounts/token`: a token for an account, bound to a pod, a secret or a node if the request says so.

use control_api::resource::{NODES, PODS, SECRETS};
use control_api::{FieldError, Reason, Resource, Scope, Status};
use control_pki::account_token::{Account, Bound, Claims, ISSUER, now_seconds};
use control_store::{Key, Object};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Ask;
use crate::api::Api;
use crate::bearer;
use crate::call::Reply;
use crate::clock;
use crate::negotiate::parse;

const SECONDS_DEFAULT: u64 = 3600;
const SECONDS_MIN: i64 = 600;
const SECONDS_MAX: i64 = 1 << 32;
/// What every pod's own token asks for. Such a token stays good for a year, with a note of when it should have been
/// renewed: a node that was away for long still has pods that can speak to the API.
const POD_SECONDS: u64 = 3607;
const EXTENDED_SECONDS: u64 = 365 * 24 * 3600;
/// Audiences of one token.
const AUDIENCES_MAX: usize = 32;

/// The kind of the body, for messages.
static TOKEN_REQUESTS: Resource = Resource {
    group: "authentication.k8s.io",
    version: "v1",
    kind: "TokenRequest",
    plural: "tokenrequests",
    singular: "tokenrequest",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    subresources: &[],
};

/// Signs a token; nothing is stored.
pub async fn issue(api: &Api, ask: Ask, mut body: Value) -> Result<Reply, Status> {
    let key = api.account_key().ok_or_else(|| Status::new(Reason::ServiceUnavailable, "no key signs tokens here"))?;
    check_identity(&ask, &body)?;
    let account = api.store().get(&ask.key()).ok_or_else(|| Status::not_found(ask.resource, &ask.name))?;
    let spec = read(&ask, &body["spec"])?;
    let bound = bind(api, &ask, &body["spec"]["boundObjectRef"])?;
    let now = now_seconds();
    let extends = bound.pod.is_some() && spec.seconds == POD_SECONDS && spec.audiences == bearer::api_audiences();
    let claims = Claims {
        exp: now.saturating_add(if extends { EXTENDED_SECONDS } else { spec.seconds }),
        iat: now,
        nbf: now,
        iss: ISSUER.to_owned(),
        jti: clock::uid(),
        sub: bearer::account_user(&ask.namespace, &ask.name, "").name,
        aud: spec.audiences.clone(),
        kubernetes: Account {
            namespace: ask.namespace.clone(),
            serviceaccount: Bound { name: ask.name.clone(), uid: account.meta.uid.clone() },
            warnafter: extends.then(|| now.saturating_add(spec.seconds)),
            ..bound
        },
    };
    let token = key.sign(&claims).map_err(|error| Status::internal(error.to_string()))?;
    let end = i64::try_from(now.saturating_add(spec.seconds)).unwrap_or(i64::MAX);
    let end = Timestamp::from_second(end).unwrap_or(Timestamp::MAX);
    body["kind"] = json!(TOKEN_REQUESTS.kind);
    body["apiVersion"] = json!(TOKEN_REQUESTS.api_version());
    body["metadata"] = json!({"name": ask.name, "namespace": ask.namespace, "creationTimestamp": clock::now()});
    body["spec"]["audiences"] = json!(spec.audiences);
    body["spec"]["expirationSeconds"] = json!(spec.seconds);
    body["status"] = json!({"token": token, "expirationTimestamp": clock::format_seconds(end)});
    Ok(Reply::Value { value: body, created: true, warnings: Vec::new() })
}

/// What the body says of itself must be what the address says.
fn check_identity(ask: &Ask, body: &Value) -> Result<(), Status> {
    let text = |field: &str| body["metadata"][field].as_str().unwrap_or_default();
    if !text("name").is_empty() && text("name") != ask.name {
        let why = "must match the service account name if specified";
        let wrong = FieldError::invalid("metadata.name", &body["metadata"]["name"], why);
        return Err(Status::invalid(&TOKEN_REQUESTS, &ask.name, vec![wrong]));
    }
    if !text("namespace").is_empty() && text("namespace") != ask.namespace {
        let why = "must match the service account namespace if specified";
        let wrong = FieldError::invalid("metadata.namespace", &body["metadata"]["namespace"], why);
        return Err(Status::invalid(&TOKEN_REQUESTS, &ask.name, vec![wrong]));
    }
    Ok(())
}

struct Spec {
    audiences: Vec<String>,
    seconds: u64,
}

fn read(ask: &Ask, spec: &Value) -> Result<Spec, Status> {
    let mut wrong = Vec::new();
    let seconds = &spec["expirationSeconds"];
    match seconds.as_i64() {
        Some(found) if found < SECONDS_MIN => {
            let why = "may not specify a duration less than 10 minutes";
            wrong.push(FieldError::invalid("spec.expirationSeconds", seconds, why));
        }
        Some(found) if found > SECONDS_MAX => {
            let why = "may not specify a duration larger than 2^32 seconds";
            wrong.push(FieldError::invalid("spec.expirationSeconds", seconds, why));
        }
        _ => {}
    }
    let audiences: Vec<String> =
        spec["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    if audiences.len() > AUDIENCES_MAX {
        let why = format!("may not hold more than {AUDIENCES_MAX} audiences");
        wrong.push(FieldError::forbidden("spec.audiences", why));
    }
    if !wrong.is_empty() {
        return Err(Status::invalid(&TOKEN_REQUESTS, &ask.name, wrong));
    }
    let audiences = if audiences.is_empty() { bearer::api_audiences() } else { audiences };
    Ok(Spec { audiences, seconds: seconds.as_u64().unwrap_or(SECONDS_DEFAULT) })
}

/// What the token is bound to: it is worth nothing once that is gone.
fn bind(api: &Api, ask: &Ask, wanted: &Value) -> Result<Account, Status> {
    let text = |field: &str| wanted[field].as_str().unwrap_or_default();
    let mut account = Account::default();
    if wanted.is_null() {
        return Ok(account);
    }
    let find = |resource: &'static Resource, namespace: &str| {
        let found = api.store().get(&Key::new(resource, namespace, text("name")));
        let found = found.ok_or_else(|| Status::not_found(resource, text("name")))?;
        let uid = text("uid");
        if !uid.is_empty() && uid != found.meta.uid {
            let why = format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have \
                 been deleted and then recreated"
            );
            return Err(Status::conflict(resource, text("name"), &why));
        }
        Ok(found)
    };
    let bound = |object: &Object| Some(Bound { name: object.meta.name.clone(), uid: object.meta.uid.clone() });
    match (text("apiVersion"), text("kind")) {
        ("v1" | "", "Pod") => {
            let pod = find(&PODS, &ask.namespace)?;
            account.pod = bound(&pod);
            account.node = node_of(api, ask, &pod)?;
        }
        ("v1" | "", "Secret") => account.secret = bound(&*find(&SECRETS, &ask.namespace)?),
        ("v1" | "", "Node") => account.node = bound(&*find(&NODES, "")?),
        (version, kind) => {
            return Err(Status::bad_request(format!("cannot bind token to object of type {version}, Kind={kind}")));
        }
    }
    Ok(account)
}

/// The pod must run as the account; its node is told of in the token.
fn node_of(api: &Api, ask: &Ask, pod: &Object) -> Result<Option<Bound>, Status> {
    let pod = parse(pod)?;
    if pod["spec"]["serviceAccountName"] != ask.name.as_str() {
        let message = format!(
            "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
            ask.name
        );
        return Err(Status::bad_request(message));
    }
    let Some(node) = pod["spec"]["nodeName"].as_str().filter(|name| !name.is_empty()) else { return Ok(None) };
    let uid = api.store().get(&Key::new(&NODES, "", node)).map(|node| node.meta.uid.clone()).unwrap_or_default();
    Ok(Some(Bound { name: node.to_owned(), uid }))
}
