//! Objects of any shape pass defaulting, strategy, validation and printing without a panic, and defaulting is
//! idempotent.

use control_api::resource::{self, Resource};
use control_api::{defaults, strategy, table, validate};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Keys that the rules of the kinds look at.
const KEYS: [&str; 44] = [
    "type",
    "clusterIP",
    "clusterIPs",
    "ports",
    "port",
    "nodePort",
    "targetPort",
    "protocol",
    "name",
    "selector",
    "externalIPs",
    "sessionAffinity",
    "sessionAffinityConfig",
    "clientIP",
    "loadBalancerSourceRanges",
    "ipFamilies",
    "ipFamilyPolicy",
    "externalTrafficPolicy",
    "healthCheckNodePort",
    "template",
    "metadata",
    "labels",
    "spec",
    "matchLabels",
    "updateStrategy",
    "rollingUpdate",
    "maxUnavailable",
    "containers",
    "restartPolicy",
    "completions",
    "capacity",
    "storage",
    "accessModes",
    "resources",
    "requests",
    "hostPath",
    "path",
    "ingress",
    "from",
    "ipBlock",
    "cidr",
    "except",
    "subjects",
    "kind",
];
const WORDS: [&str; 12] =
    ["", "None", "ClusterIP", "LoadBalancer", "Local", "10.43.0.9", "10.0.0.0/8", "1Gi", "a", "80", "Indexed", "User"];

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2i64..70_000).prop_map(Value::from),
        prop::sample::select(&WORDS[..]).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        let fields = prop::collection::vec((prop::sample::select(&KEYS[..]), inner.clone()), 0..6);
        let object = fields.prop_map(|fields| {
            Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>())
        });
        prop_oneof![prop::collection::vec(inner, 0..4).prop_map(Value::from), object]
    })
}

fn any_object() -> impl Strategy<Value = Value> {
    const TOP: [&str; 9] =
        ["spec", "subsets", "endpoints", "ports", "rules", "roleRef", "subjects", "data", "parameters"];
    prop::collection::vec((prop::sample::select(&TOP[..]), any_value()), 1..4).prop_map(|fields| {
        let mut object = json!({"metadata": {"name": "a", "namespace": "b", "uid": "u"}});
        for (key, value) in fields {
            object[key] = value;
        }
        object
    })
}

/// Kinds whose objects may come in any shape here. A pod's own rules expect what the schema has let through.
fn kinds() -> impl Iterator<Item = &'static Resource> {
    resource::all().iter().copied().filter(|row| !matches!(row.kind, "Pod" | "Node" | "Namespace"))
}

proptest! {
    #[test]
    fn no_shape_makes_a_rule_panic(old in any_object(), new in any_object()) {
        for resource in kinds() {
            let (mut old, mut new) = (old.clone(), new.clone());
            defaults::apply(resource, &mut old);
            let once = old.clone();
            defaults::apply(resource, &mut old);
            prop_assert_eq!(&once, &old, "{} is defaulted twice", resource.kind);
            strategy::prepare_create(resource, &mut old);
            let _ = validate::create(resource, &old);
            defaults::apply(resource, &mut new);
            strategy::prepare_update(resource, &mut new, &old, None);
            let _ = validate::update(resource, &new, &old);
            let _ = validate::update_status(resource, &new, &old);
            let cells = table::row(resource, &new, Timestamp::UNIX_EPOCH);
            prop_assert_eq!(cells.len(), table::columns(resource).len());
        }
    }
}
