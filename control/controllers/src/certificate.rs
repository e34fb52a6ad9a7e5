//! CertificateSigningRequests: approved ones for `kubernetes.io/kube-apiserver-client` are signed by the cluster's CA, and
//! requests that are over are deleted after a while.

use std::fmt::Debug;
use std::time::Duration;

use control_api::object::{get, integer, list, text};
use control_api::resource::CERTIFICATE_SIGNING_REQUESTS;
use control_client::{DeleteOptions, Key, Resource};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::action::Action;
use crate::controller::{self, Controller, Input};
use crate::error::Error;
use crate::world::{World, view};

const SIGNER: &str = "kubernetes.io/kube-apiserver-client";
/// The longest life that is given, and the one of requests that ask for none, as in Kubernetes.
const LIFE_SECONDS_MAX: u64 = 365 * 86_400;
const LIFE_SECONDS_MIN: u64 = 600;
/// How long a request stays that nobody decided about, and one that is over, as in Kubernetes.
const PENDING_SECONDS_MAX: i64 = 24 * 3600;
const OVER_SECONDS_MAX: i64 = 3600;

/// What a certificate's key may be used for beside showing who a client is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub digital_signature: bool,
    pub key_encipherment: bool,
}

/// The cluster's CA; the server's bin fulfils it. Requests and certificates are base64 of PEM, as objects hold them.
pub trait Signer: Debug + Send + Sync + 'static {
    /// A client certificate with the request's subject; the error is for who asked.
    fn sign(&self, request: &str, usage: Usage, life: Duration) -> Result<String, String>;

    /// When a certificate ends, in seconds since 1970.
    fn ends(&self, certificate: &str) -> Option<i64>;
}

static OUTPUTS: [&Resource; 1] = [&CERTIFICATE_SIGNING_REQUESTS];

pub struct CertificateController {
    signer: std::sync::Arc<dyn Signer>,
}

impl CertificateController {
    pub fn new(signer: std::sync::Arc<dyn Signer>) -> Self {
        Self { signer }
    }
}

impl Controller for CertificateController {
    fn name(&self) -> &'static str {
        "certificate-controller"
    }

    fn inputs(&self) -> Vec<Input> {
        vec![Input { resource: &CERTIFICATE_SIGNING_REQUESTS, keys: controller::itself }]
    }

    fn outputs(&self) -> &'static [&'static Resource] {
        &OUTPUTS
    }

    fn reconcile(&self, world: &World, key: &Key) -> Result<Vec<Action>, Error> {
        let Some(object) = world.get(key) else { return Ok(Vec::new()) };
        let request: Value = view(&object)?;
        if object.meta.deletion_timestamp.is_some() {
            return Ok(Vec::new());
        }
        if is_open(&request) {
            return Ok(vec![self.sign(world, key, &request)]);
        }
        let Some(due) = self.due(world, &request) else { return Ok(Vec::new()) };
        let left = due.saturating_sub(world.now().as_second());
        Ok(vec![match u64::try_from(left) {
            Ok(left) if left > 0 => Action::RequeueAfter(Duration::from_secs(left)),
            _ => Action::Delete { key: key.clone(), options: DeleteOptions::default(), announce: None },
        }])
    }
}

fn condition<'a>(request: &'a Value, kind: &str) -> Option<&'a Value> {
    list(request, "/status/conditions").iter().find(|found| text(found, "/type") == kind)
}

fn is_signed(request: &Value) -> bool {
    !text(request, "/status/certificate").is_empty()
}

/// Whether it waits for this signer.
fn is_open(request: &Value) -> bool {
    let has = |kind| condition(request, kind).is_some();
    text(request, "/spec/signerName") == SIGNER
        && has("Approved")
        && !has("Denied")
        && !has("Failed")
        && !is_signed(request)
}

/// What the key may be used for, or why such a request is not signed.
fn usage(request: &Value) -> Result<Usage, String> {
    let (mut usage, mut client) = (Usage::default(), false);
    for word in list(request, "/spec/usages").iter().filter_map(Value::as_str) {
        match word {
            "digital signature" => usage.digital_signature = true,
            "key encipherment" => usage.key_encipherment = true,
            "client auth" => client = true,
            other => return Err(format!("invalid usage for client certificate: {other}")),
        }
    }
    if client { Ok(usage) } else { Err("missing required usage for client certificate: client auth".to_owned()) }
}

fn life(request: &Value) -> Duration {
    let asked = integer(request, "/spec/expirationSeconds").and_then(|seconds| u64::try_from(seconds).ok());
    Duration::from_secs(asked.map_or(LIFE_SECONDS_MAX, |seconds| seconds.clamp(LIFE_SECONDS_MIN, LIFE_SECONDS_MAX)))
}

impl CertificateController {
    fn sign(&self, world: &World, key: &Key, request: &Value) -> Action {
        let signed =
            usage(request).and_then(|usage| self.signer.sign(text(request, "/spec/request"), usage, life(request)));
        match signed {
            Ok(certificate) => Action::UpdateStatus { key: key.clone(), status: json!({"certificate": certificate}) },
            Err(message) => {
                let now = control_client::recorder::seconds(world.now());
                let failed = json!({
                    "type": "Failed", "status": "True", "reason": "SignerValidationFailure", "message": message,
                    "lastUpdateTime": now, "lastTransitionTime": now,
                });
                // The whole list: no strategic patch merges it.
                let mut conditions = list(request, "/status/conditions").to_vec();
                conditions.push(failed);
                Action::UpdateStatus { key: key.clone(), status: json!({"conditions": conditions}) }
            }
        }
    }

    /// When the request is to be deleted, in seconds since 1970; none where somebody may still sign it.
    fn due(&self, world: &World, request: &Value) -> Option<i64> {
        let seconds = |value: &Value, pointer: &str| -> Option<i64> {
            let time: Timestamp = get(value, pointer)?.as_str()?.parse().ok()?;
            Some(world.corrected(time).as_second())
        };
        let over = |kind: &str| {
            seconds(condition(request, kind)?, "/lastUpdateTime").map(|time| time.saturating_add(OVER_SECONDS_MAX))
        };
        if list(request, "/status/conditions").is_empty() {
            return Some(seconds(request, "/metadata/creationTimestamp")?.saturating_add(PENDING_SECONDS_MAX));
        }
        let issued = is_signed(request).then(|| over("Approved")).flatten();
        let ended = is_signed(request).then(|| self.signer.ends(text(request, "/status/certificate"))).flatten();
        [issued, ended, over("Denied"), over("Failed")].into_iter().flatten().min()
    }
}
