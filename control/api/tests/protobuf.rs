//! Bodies that a real kubectl 1.33 sent, and broken ones.

use control_api::decode::decode_protobuf;
use control_api::schema::{for_kind, prune};
use proptest::prelude::*;
use serde_json::{Value, json};

const CONFIG_MAP: &[u8] = include_bytes!("protobuf/configmap.bin");
const DEPLOYMENT: &[u8] = include_bytes!("protobuf/deployment.bin");
const NAMESPACE: &[u8] = include_bytes!("protobuf/namespace.bin");
const SECRET: &[u8] = include_bytes!("protobuf/secret.bin");
const TOKEN: &[u8] = include_bytes!("protobuf/token.bin");

fn decode(body: &[u8]) -> Value {
    decode_protobuf(body, None).expect("kubectl's body decodes").value
}

#[test]
fn what_kubectl_creates_comes_out_as_its_json_would() {
    assert_eq!(
        decode(CONFIG_MAP),
        json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}, "data": {"k": "v"}})
    );
    assert_eq!(
        decode(SECRET),
        json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "s"}, "data": {"k": "dg=="}})
    );
    assert_eq!(
        decode(NAMESPACE),
        json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "n"}, "spec": {}, "status": {}})
    );
    assert_eq!(
        decode(TOKEN),
        json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": {},
            "spec": {"expirationSeconds": 600}, "status": {"token": ""}})
    );
    assert_eq!(
        decode(DEPLOYMENT),
        json!({"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "web", "labels": {"app": "web"}},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [
                    {"name": "nginx", "image": "nginx", "ports": [{"containerPort": 80}], "resources": {}}]}},
                "strategy": {}},
            "status": {}})
    );
}

#[test]
fn a_decoded_body_passes_the_schema_unchanged() {
    for (body, api_version, kind) in [(DEPLOYMENT, "apps/v1", "Deployment"), (SECRET, "v1", "Secret")] {
        let mut value = decode(body);
        let before = value.clone();
        let mut unknown = Vec::new();
        prune(&mut value, for_kind(api_version, kind).expect("known"), &mut unknown).expect("well typed");
        assert_eq!((value, unknown.len()), (before, 0));
    }
}

#[test]
fn bodies_without_magic_or_of_unknown_kinds_are_bad_requests() {
    assert_eq!(decode_protobuf(b"{}", None).unwrap_err().code(), 400);
    let unknown = b"k8s\0\x0a\x07\x0a\x02v9\x12\x01X";
    let error = decode_protobuf(unknown, None).unwrap_err();
    assert_eq!(error.message, "no kind \"X\" is registered for version \"v9\"");
}

proptest! {
    #[test]
    fn mutated_bodies_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        for body in [CONFIG_MAP, DEPLOYMENT, NAMESPACE, SECRET, TOKEN] {
            let mut body = body.to_vec();
            let at = at.index(body.len());
            body[at] = byte;
            let _ = decode_protobuf(&body, None);
            body.truncate(cut.index(body.len()));
            let _ = decode_protobuf(&body, None);
        }
    }

    #[test]
    fn random_messages_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for (api_version, kind) in [("v1", "Pod"), ("apps/v1", "Deployment"), ("v1", "Event"), ("v1", "Node")] {
            let mut body = b"k8s\0\x12".to_vec();
            body.extend([(bytes.len() as u8 & 0x7f) | 0x80, (bytes.len() >> 7) as u8]);
            body.extend(&bytes);
            let _ = decode_protobuf(&body, for_kind(api_version, kind));
        }
    }
}
