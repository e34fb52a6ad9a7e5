//! Certificate requests: which are signed, which fail, and when they go.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use control_api::resource::CERTIFICATE_SIGNING_REQUESTS;
use control_client::{Client, Key, Patch};
use control_controllers::certificate::CertificateController;
use control_controllers::{Action, Controller, Signer, Usage};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::cluster::{client, create, world};

/// Says what it was asked to sign.
#[derive(Debug)]
struct Echo;

impl Signer for Echo {
    fn sign(&self, _request: &str, usage: Usage, life: Duration) -> Result<String, String> {
        Ok(format!("{}{} {}", usage.digital_signature, usage.key_encipherment, life.as_secs()))
    }

    fn ends(&self, _certificate: &str) -> Option<i64> {
        Some(Timestamp::now().as_second() + 1200)
    }
}

fn pem() -> String {
    let key = rcgen::KeyPair::generate().expect("a key");
    let request = rcgen::CertificateParams::default().serialize_request(&key).expect("a request");
    BASE64.encode(request.pem().expect("PEM"))
}

async fn request(client: &Client, name: &str, spec: Value) -> Key {
    let mut all = json!({
        "request": pem(), "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"],
    });
    all.as_object_mut().expect("an object").extend(spec.as_object().expect("an object").clone());
    create(client, &CERTIFICATE_SIGNING_REQUESTS, "", json!({"metadata": {"name": name}, "spec": all})).await;
    Key::new(&CERTIFICATE_SIGNING_REQUESTS, "", name)
}

async fn decide(client: &Client, key: &Key, kind: &str) {
    let condition = json!({"status": {"conditions": [{"type": kind, "status": "True"}]}});
    let patched = client.patch(key.resource, "", &key.name, Some("approval"), Patch::Strategic(condition)).await;
    patched.expect("is decided");
}

fn actions(client: &Client, key: &Key, later: i64) -> Vec<Action> {
    let world = world(client).at(Timestamp::now() + SignedDuration::from_secs(later));
    CertificateController::new(Arc::new(Echo)).reconcile(&world, key).expect("is looked at")
}

fn goes(actions: &[Action]) -> bool {
    matches!(actions, [Action::Delete { .. }])
}

#[tokio::test]
async fn an_approved_request_is_signed_for_as_long_as_it_asks_and_a_year_at_most() {
    let (_, client) = client();
    let asked = |seconds: i64| json!({"usages": ["client auth", "digital signature"], "expirationSeconds": seconds});
    for (name, spec, words) in [
        ("a", asked(3600), "truefalse 3600"),
        ("b", asked(99_999_999), "truefalse 31536000"),
        ("c", json!({}), "falsefalse 31536000"),
    ] {
        let key = request(&client, name, spec).await;
        assert!(matches!(&*actions(&client, &key, 0), [Action::RequeueAfter(_)]));
        decide(&client, &key, "Approved").await;
        let found = actions(&client, &key, 0);
        let [Action::UpdateStatus { status, .. }] = &*found else { panic!("{found:?}") };
        assert_eq!(status["certificate"], words);
    }
    let other = request(&client, "d", json!({"signerName": "example.com/other"})).await;
    decide(&client, &other, "Approved").await;
    assert!(actions(&client, &other, 100_000).is_empty(), "somebody else's to sign");
}

#[tokio::test]
async fn a_request_that_no_client_certificate_can_have_fails_in_words() {
    let (_, client) = client();
    let key = request(&client, "a", json!({"usages": ["server auth"]})).await;
    decide(&client, &key, "Approved").await;
    let found = actions(&client, &key, 0);
    let [Action::UpdateStatus { status, .. }] = &*found else { panic!("{found:?}") };
    assert_eq!(status["conditions"][1]["message"], "invalid usage for client certificate: server auth");
    let failed = Patch::Merge(json!({"status": status}));
    client.patch(key.resource, "", "a", Some("status"), failed).await.expect("is marked");
    assert!(!goes(&actions(&client, &key, 3500)) && goes(&actions(&client, &key, 3601)));
}

#[tokio::test]
async fn requests_go_a_day_after_nobody_decided_and_an_hour_after_they_are_over() {
    let (_, client) = client();
    let open = request(&client, "open", json!({})).await;
    assert!(!goes(&actions(&client, &open, 86_300)) && goes(&actions(&client, &open, 86_401)));
    let denied = request(&client, "denied", json!({})).await;
    decide(&client, &denied, "Denied").await;
    assert!(!goes(&actions(&client, &denied, 3500)) && goes(&actions(&client, &denied, 3601)));
    let signed = request(&client, "signed", json!({})).await;
    decide(&client, &signed, "Approved").await;
    let chain = rcgen::CertificateParams::default();
    let chain = chain.self_signed(&rcgen::KeyPair::generate().expect("a key")).expect("a certificate").pem();
    let certificate = Patch::Merge(json!({"status": {"certificate": BASE64.encode(chain)}}));
    client.patch(signed.resource, "", "signed", Some("status"), certificate).await.expect("is signed");
    // Its certificate ends before the hour.
    assert!(!goes(&actions(&client, &signed, 1100)) && goes(&actions(&client, &signed, 1300)));
}
