use serde_json::json;

use super::*;

#[test]
fn json_duplicates_are_found_by_path() {
    let decoded = decode_json(br#"{"a": [{"b": 1, "b": 2}], "c": {"d": null, "d": 1.5}}"#).expect("parses");
    assert_eq!(decoded.value, json!({"a": [{"b": 2}], "c": {"d": 1.5}}));
    assert_eq!(decoded.duplicates, ["a[0].b", "c.d"]);
}

#[test]
fn yaml_reads_as_json_does() {
    let decoded = decode_yaml(b"a:\n- b: 1\n  c: x\nd: \"1\"\ne: true\nf: null\na2: 1.5\ne: false\n").expect("parses");
    assert_eq!(decoded.value, json!({"a": [{"b": 1, "c": "x"}], "d": "1", "e": false, "f": null, "a2": 1.5}));
    assert_eq!(decoded.duplicates, ["e"]);
}

#[test]
fn broken_and_deep_bodies_are_bad_requests() {
    let deep = [b"[".repeat(10_000), b"]".repeat(10_000)].concat();
    for body in [&b"{"[..], b"{\"a\":1} x", b"\xff\xfe", b"", &deep] {
        assert_eq!(decode_json(body).unwrap_err().code(), 400);
        assert!(body.is_empty() || decode_yaml(body).is_err());
    }
}
