//! A Lease that is renewed: the one change that every node makes every ten seconds, without reading the object.

use crate::draft::{Draft, find};
use crate::meta::Meta;

/// Inside a JSON string a quotation mark has a backslash before it, so these are keys, and `"f:spec":{` is another one.
const SPEC: &[u8] = b"\"spec\":{";
const RENEW_TIME: &[u8] = b"\"renewTime\":\"";

/// The same Lease with another `spec.renewTime`; `None` where it has none yet, or is written in another way than ours.
/// `time` needs no escaping.
pub fn renew(json: &[u8], meta: &Meta, revision: u64, time: &str) -> Option<Draft> {
    let mut draft = Draft::reopen(json, meta.clone(), revision)?;
    let bytes = draft.bytes();
    let spec = find(bytes, SPEC)? + SPEC.len();
    // A Lease's spec holds nothing but strings and numbers.
    let end = spec + bytes[spec..].iter().position(|byte| matches!(byte, b'{' | b'}' | b'\\'))?;
    let from = spec + find(&bytes[spec..end], RENEW_TIME)? + RENEW_TIME.len();
    let to = from + bytes[from..end].iter().position(|byte| *byte == b'"')?;
    draft.splice(from, to, time.as_bytes());
    Some(draft)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn stored(lease: &Value) -> (Vec<u8>, Meta) {
        Draft::new(lease).expect("drafts").finish(41)
    }

    #[test]
    fn a_renewal_changes_the_time_and_the_revision_and_nothing_else() {
        let mut lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {
                "name": "pi-1", "namespace": "kube-node-lease",
                "annotations": {"renewTime": "mine", "x": "\"spec\":{\"renewTime\":\"y\"}"},
                "managedFields": [{"fieldsV1": {"f:spec": {"f:renewTime": {}}}}],
            },
            "spec": {"holderIdentity": "pi-1", "leaseDurationSeconds": 40, "renewTime": "2026-01-01T00:00:00.000000Z"},
        });
        let (json, meta) = stored(&lease);
        let later = "2026-01-01T00:00:10.000001Z";
        let (renewed, _) = renew(&json, &meta, 41, later).expect("is renewed").finish(1234);
        lease["spec"]["renewTime"] = json!(later);
        lease["metadata"]["resourceVersion"] = json!("1234");
        assert_eq!(serde_json::from_slice::<Value>(&renewed).expect("parses"), lease);
        assert!(renew(&renewed, &meta, 41, later).is_none(), "of another revision than is thought");
        assert!(renew(&renewed, &meta, 1234, later).is_some());
    }

    #[test]
    fn a_lease_without_a_time_or_of_an_odd_shape_is_left_to_the_long_way() {
        let spec = |spec: Value| stored(&json!({"metadata": {"name": "a"}, "spec": spec}));
        let odd = [
            json!({}),
            json!({"renewTime": null}),
            json!({"holderIdentity": "}", "renewTime": "x"}),
            json!({"holderIdentity": "\"renewTime\":\""}),
        ];
        for (json, meta) in odd.map(spec) {
            assert!(renew(&json, &meta, 41, "t").is_none());
        }
        assert!(renew(b"{}", &Meta::default(), 41, "t").is_none());
    }
}
