//! Bearer tokens: of the authenticator that was given, and those of ServiceAccounts, whose account, pod, secret or node
//! must still be there.

use std::collections::BTreeMap;

use control_api::Resource;
use control_api::resource::{NODES, PODS, SECRETS, SERVICE_ACCOUNTS};
use control_pki::account_token::{Bound, Claims, ISSUER, looks_like_one, now_seconds};
use control_store::{Key, Store};

use crate::api::Api;
use crate::call::User;

/// A token outlives the deletion of what it is bound to by so much, as Kubernetes has it.
const DELETION_LEEWAY_SECONDS: i64 = 60;

/// Who a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    pub user: User,
    /// Whom the token is meant for; nothing where its kind does not say.
    pub audiences: Option<Vec<String>>,
}

impl Bearer {
    /// Those of `wanted` that the token is meant for.
    pub fn meant_for(&self, wanted: &[String]) -> Vec<String> {
        let meant = |audience: &&String| self.audiences.as_ref().is_none_or(|own| own.contains(audience));
        wanted.iter().filter(meant).cloned().collect()
    }
}

/// The audiences of the API itself.
pub fn api_audiences() -> Vec<String> {
    vec![ISSUER.to_owned()]
}

/// Who the token stands for, or in plain words why it is not believed.
pub fn bearer(api: &Api, token: &str) -> Result<Bearer, String> {
    if let Some(user) = api.tokens().and_then(|known| known.token(token)) {
        return Ok(Bearer { user, audiences: None });
    }
    let key = api.account_key().filter(|_| looks_like_one(token)).ok_or("token is not known")?;
    let claims = key.verify(token).map_err(|error| error.to_string())?;
    let user = account(&**api.store(), &claims)?;
    Ok(Bearer { user, audiences: Some(claims.aud.clone()) })
}

/// The user that a ServiceAccount is.
pub fn account_user(namespace: &str, name: &str, uid: &str) -> User {
    User {
        name: format!("system:serviceaccount:{namespace}:{name}"),
        uid: uid.to_owned(),
        groups: account_groups(namespace),
        extra: BTreeMap::new(),
    }
}

/// The groups that every account of a namespace is in.
pub fn account_groups(namespace: &str) -> Vec<String> {
    vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")]
}

/// The account of a token that was signed here, if it is still the same one.
fn account(store: &dyn Store, claims: &Claims) -> Result<User, String> {
    let told = &claims.kubernetes;
    let account = &told.serviceaccount;
    let mut user = account_user(&told.namespace, &account.name, &account.uid);
    if claims.sub != user.name {
        return Err("token names two accounts".to_owned());
    }
    still_there(store, &SERVICE_ACCOUNTS, &told.namespace, account)?;
    let mut add = |key: &str, value: &str| {
        if !value.is_empty() {
            user.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
        }
    };
    if let Some(secret) = &told.secret {
        still_there(store, &SECRETS, &told.namespace, secret)?;
    }
    if let Some(pod) = &told.pod {
        still_there(store, &PODS, &told.namespace, pod)?;
        add("pod-name", &pod.name);
        add("pod-uid", &pod.uid);
    }
    if let Some(node) = &told.node {
        // Beside a pod the node is only told of.
        if told.pod.is_none() {
            still_there(store, &NODES, "", node)?;
        }
        add("node-name", &node.name);
        add("node-uid", &node.uid);
    }
    if !claims.jti.is_empty() {
        add("credential-id", &format!("JTI={}", claims.jti));
    }
    Ok(user)
}

fn still_there(store: &dyn Store, resource: &'static Resource, namespace: &str, bound: &Bound) -> Result<(), String> {
    let kind = resource.kind;
    let found = store.get(&Key::new(resource, namespace, &bound.name));
    let found = found.ok_or_else(|| format!("{kind} of the token is not there"))?;
    if found.meta.uid != bound.uid {
        return Err(format!("{kind} of the token was replaced by another of its name"));
    }
    let deleted = found.meta.deletion_timestamp.as_ref().and_then(|time| time.parse::<jiff::Timestamp>().ok());
    let now = i64::try_from(now_seconds()).unwrap_or(i64::MAX);
    if deleted.is_some_and(|time| time.as_second().saturating_add(DELETION_LEEWAY_SECONDS) < now) {
        return Err(format!("{kind} of the token has been deleted"));
    }
    Ok(())
}
