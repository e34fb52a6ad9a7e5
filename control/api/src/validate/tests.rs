//! Each case: what is written at which place of a valid object, and the complaint that follows.

mod certificates;
mod endpoints;
mod jobs;
mod roles;
mod services;
mod storage;

use serde_json::{Value, json};

use super::*;
use crate::resource::{CONFIG_MAPS, DEPLOYMENTS, EVENTS, LEASES, NAMESPACES, NODES, PODS, Resource, SECRETS};
use crate::{defaults, strategy};

fn pod() -> Value {
    json!({"metadata": {"name": "a", "namespace": "d"}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}})
}

fn deployment() -> Value {
    json!({"metadata": {"name": "a", "namespace": "d"}, "spec": {
        "selector": {"matchLabels": {"app": "a"}},
        "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}},
    }})
}

/// Sets the value at a pointer, making objects on the way; null removes.
fn set(object: &mut Value, pointer: &str, value: Value) {
    let mut place = object;
    for part in pointer[1..].split('/') {
        place = match place {
            Value::Array(items) => &mut items[part.parse::<usize>().expect("an index")],
            other => &mut other[part],
        };
    }
    *place = value;
}

fn complaints(resource: &Resource, mut object: Value) -> Vec<String> {
    defaults::apply(resource, &mut object);
    strategy::prepare_create(resource, &mut object);
    create(resource, &object).iter().map(ToString::to_string).collect()
}

fn check(resource: &Resource, base: fn() -> Value, cases: &[(&str, Value, &str)]) {
    assert_eq!(complaints(resource, base()), Vec::<String>::new());
    for (pointer, value, wanted) in cases {
        let mut object = base();
        set(&mut object, pointer, value.clone());
        let found = complaints(resource, object);
        if wanted.is_empty() {
            assert_eq!(found, Vec::<String>::new(), "{pointer} = {value}");
        } else {
            assert!(found.iter().any(|text| text.starts_with(wanted)), "{pointer} = {value}: {found:#?}");
        }
    }
}

#[test]
fn metadata_is_refused_in_kubernetes_words() {
    check(
        &PODS,
        pod,
        &[
            ("/metadata/name", json!("A"), "metadata.name: Invalid value: \"A\": a lowercase RFC 1123 subdomain must"),
            ("/metadata/name", json!(""), "metadata.name: Required value: name or generateName is required"),
            ("/metadata/generateName", json!("a-"), ""),
            ("/metadata/generateName", json!("A-"), "metadata.generateName: Invalid value: \"A-\""),
            ("/metadata/namespace", json!(""), "metadata.namespace: Required value"),
            (
                "/metadata/labels",
                json!({"a b": "c"}),
                "metadata.labels: Invalid value: \"a b\": name part must consist",
            ),
            ("/metadata/labels", json!({"a": "c d"}), "metadata.labels: Invalid value: \"c d\": a valid label must be"),
            ("/metadata/annotations", json!({"A.com/b": "any thing"}), ""),
            (
                "/metadata/annotations",
                json!({"a": "x".repeat(262_144)}),
                "metadata.annotations: Too long: may not be more",
            ),
            ("/metadata/finalizers", json!(["foo"]), "metadata.finalizers: Invalid value: \"foo\": name is neither"),
            (
                "/metadata/ownerReferences",
                json!([{}]),
                "metadata.ownerReferences.uid: Invalid value: \"\": must not be",
            ),
        ],
    );
    check(
        &NAMESPACES,
        || json!({"metadata": {"name": "a"}}),
        &[
            ("/metadata/name", json!("a.b"), "metadata.name: Invalid value: \"a.b\": a lowercase RFC 1123 label must"),
            ("/metadata/namespace", json!("x"), "metadata.namespace: Forbidden: not allowed on this type"),
        ],
    );
}

#[test]
fn containers_are_refused_in_kubernetes_words() {
    let two = json!([{"name": "c", "image": "i:1"}, {"name": "c", "image": "i:1"}]);
    let c = "spec.containers[0]";
    let cases = [
        ("/spec/containers", json!([]), "spec.containers: Required value".to_owned()),
        ("/spec/containers", two, "spec.containers[1].name: Duplicate value: \"c\"".to_owned()),
        ("/spec/containers/0/name", json!(""), format!("{c}.name: Required value")),
        (
            "/spec/containers/0/name",
            json!("C_"),
            format!("{c}.name: Invalid value: \"C_\": a lowercase RFC 1123 label"),
        ),
        ("/spec/containers/0/image", json!(""), format!("{c}.image: Required value")),
        ("/spec/containers/0/image", json!(" a"), format!("{c}.image: Invalid value: \" a\": must not have leading")),
        (
            "/spec/containers/0/imagePullPolicy",
            json!("Maybe"),
            format!(
                "{c}.imagePullPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"IfNotPresent\", \"Never\""
            ),
        ),
        ("/spec/containers/0/ports", json!([{}]), format!("{c}.ports[0].containerPort: Required value")),
        (
            "/spec/containers/0/ports",
            json!([{"containerPort": 70000}]),
            format!("{c}.ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"),
        ),
        (
            "/spec/containers/0/ports",
            json!([{"containerPort": 1, "hostPort": 80}, {"containerPort": 2, "hostPort": 80}]),
            format!("{c}.ports[1].hostPort: Duplicate value: \"TCP//80\""),
        ),
        ("/spec/containers/0/env", json!([{"value": "x"}]), format!("{c}.env[0].name: Required value")),
        ("/spec/containers/0/env", json!([{"name": "a=b"}]), format!("{c}.env[0].name: Invalid value: \"a=b\"")),
        (
            "/spec/containers/0/env",
            json!([{"name": "a", "valueFrom": {}}]),
            format!("{c}.env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`"),
        ),
        (
            "/spec/containers/0/env",
            json!([{"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "spec.foo"}}}]),
            format!(
                "{c}.env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.foo\": error converting fieldPath: field label not supported: spec.foo"
            ),
        ),
        (
            "/spec/containers/0/env",
            json!([{"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['x']"}}}]),
            String::new(),
        ),
        (
            "/spec/containers/0/envFrom",
            json!([{}]),
            format!("{c}.envFrom[0]: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`"),
        ),
        (
            "/spec/containers/0/volumeMounts",
            json!([{"name": "v", "mountPath": "/x"}]),
            format!("{c}.volumeMounts[0].name: Not found: \"v\""),
        ),
        (
            "/spec/containers/0/resources",
            json!({"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}),
            format!("{c}.resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1"),
        ),
        (
            "/spec/containers/0/resources",
            json!({"limits": {"cpu": "x"}}),
            format!("{c}.resources.limits[cpu]: Invalid value: \"x\": quantities must match the regular expression"),
        ),
        (
            "/spec/containers/0/resources",
            json!({"limits": {"cpu": "-1"}}),
            format!("{c}.resources.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0"),
        ),
        (
            "/spec/containers/0/readinessProbe",
            json!({}),
            format!("{c}.readinessProbe: Required value: must specify a handler type"),
        ),
    ];
    let cases: Vec<(&str, Value, &str)> =
        cases.iter().map(|(pointer, value, wanted)| (*pointer, value.clone(), wanted.as_str())).collect();
    check(&PODS, pod, &cases);
}

#[test]
fn probes_and_hooks_are_refused_in_kubernetes_words() {
    let exec = |fields: Value| {
        let mut probe = json!({"exec": {"command": ["x"]}});
        probe.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        probe
    };
    let get = |fields: Value| {
        let mut get = json!({"port": 80});
        get.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({"httpGet": get})
    };
    let cases = [
        ("livenessProbe", exec(json!({})), ""),
        ("startupProbe", exec(json!({"terminationGracePeriodSeconds": 5})), ""),
        (
            "livenessProbe",
            exec(json!({"periodSeconds": -1})),
            ".periodSeconds: Invalid value: -1: must be greater than or equal to 0",
        ),
        ("livenessProbe", exec(json!({"successThreshold": 2})), ".successThreshold: Invalid value: 2: must be 1"),
        ("readinessProbe", exec(json!({"successThreshold": 2})), ""),
        (
            "readinessProbe",
            exec(json!({"terminationGracePeriodSeconds": 5})),
            ".terminationGracePeriodSeconds: Invalid value: 5: must not be set for readinessProbes",
        ),
        (
            "livenessProbe",
            exec(json!({"terminationGracePeriodSeconds": 0})),
            ".terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0",
        ),
        (
            "livenessProbe",
            exec(json!({"grpc": {"port": 1}})),
            ".grpc: Forbidden: may not specify more than 1 handler type",
        ),
        ("livenessProbe", json!({"exec": {}}), ".exec.command: Required value"),
        (
            "livenessProbe",
            json!({"grpc": {"port": 0}}),
            ".grpc.port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        ("livenessProbe", json!({"tcpSocket": {"port": "UPPER"}}), ".tcpSocket.port: Invalid value: \"UPPER\""),
        ("livenessProbe", get(json!({"scheme": "ftp"})), ".httpGet.scheme: Unsupported value: \"ftp\""),
        (
            "livenessProbe",
            get(json!({"httpHeaders": [{"name": "a b", "value": "x"}]})),
            ".httpGet.httpHeaders[0].name: Invalid value: \"a b\": a valid HTTP header must consist of",
        ),
        ("lifecycle", json!({"preStop": {"sleep": {"seconds": 30}}, "postStart": {"sleep": {"seconds": 0}}}), ""),
        (
            "lifecycle",
            json!({"preStop": {"sleep": {"seconds": 31}}}),
            ".preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
        ),
        ("lifecycle", json!({"postStart": {}}), ".postStart: Required value: must specify a handler type"),
    ];
    for (field, value, wanted) in cases {
        let wanted = if wanted.is_empty() { String::new() } else { format!("spec.containers[0].{field}{wanted}") };
        check(&PODS, pod, &[(format!("/spec/containers/0/{field}").as_str(), value, &wanted)]);
    }
}

#[test]
fn pod_specs_are_refused_in_kubernetes_words() {
    let volume = |source: Value| json!([source]);
    check(
        &PODS,
        pod,
        &[
            ("/spec/volumes", volume(json!({"name": "v"})), ""),
            ("/spec/volumes", volume(json!({})), "spec.volumes[0].name: Required value"),
            (
                "/spec/volumes",
                volume(json!({"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}})),
                "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
            ),
            (
                "/spec/volumes",
                volume(json!({"name": "v", "nfs": {}})),
                "spec.volumes[0].nfs: Forbidden: a volume of type nfs is not supported yet",
            ),
            (
                "/spec/volumes",
                volume(json!({"name": "v", "configMap": {}})),
                "spec.volumes[0].configMap.name: Required value",
            ),
            (
                "/spec/volumes",
                volume(json!({"name": "v", "secret": {"secretName": "s", "items": [{"key": "k", "path": "../x"}]}})),
                "spec.volumes[0].secret.items[0].path: Invalid value: \"../x\": must not contain '..'",
            ),
            (
                "/spec/volumes",
                volume(json!({"name": "v", "secret": {"secretName": "s", "defaultMode": 512}})),
                "spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal)",
            ),
            (
                "/spec/restartPolicy",
                json!("Sometimes"),
                "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
            ),
            (
                "/spec/activeDeadlineSeconds",
                json!(0),
                "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and",
            ),
            (
                "/spec/tolerations",
                json!([{"operator": "Equal"}]),
                "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty",
            ),
            ("/spec/nodeSelector", json!({"a": "b c"}), "spec.nodeSelector: Invalid value: \"b c\""),
            ("/spec/dnsPolicy", json!("None"), "spec.dnsConfig.nameservers: Required value: must provide at least one"),
        ],
    );
}

#[test]
fn users_of_ones_own_do_not_go_with_what_is_the_hosts() {
    let own = |key: &str| {
        let mut spec = pod()["spec"].clone();
        spec["hostUsers"] = json!(false);
        spec[key] = json!(true);
        spec
    };
    let mut device = own("automountServiceAccountToken");
    device["containers"][0]["volumeDevices"] = json!([{"name": "d", "devicePath": "/dev/d"}]);
    check(
        &PODS,
        pod,
        &[
            ("/spec/hostUsers", json!(true), ""),
            ("/spec/hostUsers", json!(false), ""),
            ("/spec", own("shareProcessNamespace"), ""),
            ("/spec", own("hostNetwork"), "spec.hostNetwork: Forbidden: when `hostUsers` is false"),
            ("/spec", own("hostPID"), "spec.hostPID: Forbidden: when `hostUsers` is false"),
            ("/spec", own("hostIPC"), "spec.hostIPC: Forbidden: when `hostUsers` is false"),
            ("/spec", device, "spec.containers[0].volumeDevices: Forbidden: when `hostUsers` is false"),
        ],
    );
}

#[test]
fn an_unmasked_proc_needs_users_of_ones_own_and_recursive_read_only_mounts_are_read_only_ones() {
    let unmasked = |host_users| {
        let mut spec = pod()["spec"].clone();
        spec["hostUsers"] = json!(host_users);
        spec["containers"][0]["securityContext"] = json!({"procMount": "Unmasked"});
        spec
    };
    let mount = |mode: &str, fields: Value| {
        let mut spec = pod()["spec"].clone();
        spec["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
        spec["containers"][0]["volumeMounts"] = json!([{"name": "v", "mountPath": "/v", "recursiveReadOnly": mode}]);
        let mount = spec["containers"][0]["volumeMounts"][0].as_object_mut().unwrap();
        mount.extend(fields.as_object().unwrap().clone());
        spec
    };
    let field = "spec.containers[0].volumeMounts[0].recursiveReadOnly: Forbidden: may only be specified when";
    let read_only = || json!({"readOnly": true});
    let propagated = json!({"readOnly": true, "mountPropagation": "HostToContainer"});
    check(
        &PODS,
        pod,
        &[
            ("/spec", unmasked(false), ""),
            (
                "/spec",
                unmasked(true),
                "spec.containers[0].securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`",
            ),
            ("/spec", mount("Disabled", json!({})), ""),
            ("/spec", mount("Enabled", read_only()), ""),
            ("/spec", mount("IfPossible", read_only()), ""),
            ("/spec", mount("IfPossible", json!({})), &format!("{field} readOnly is true")),
            ("/spec", mount("Enabled", propagated), &format!("{field} mountPropagation is None or not specified")),
        ],
    );
}

#[test]
fn what_nothing_enforces_yet_is_refused() {
    check(
        &PODS,
        pod,
        &[
            (
                "/spec/containers/0/lifecycle",
                json!({"stopSignal": "SIGINT"}),
                "spec.containers[0].lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`",
            ),
            (
                "/spec/runtimeClassName",
                json!("x"),
                "spec.runtimeClassName: Forbidden: runtime classes are not supported yet",
            ),
            ("/spec/schedulingGates", json!([]), ""),
            (
                "/spec/topologySpreadConstraints",
                json!([{"whenUnsatisfiable": "DoNotSchedule"}]),
                "spec.topologySpreadConstraints[0].whenUnsatisfiable: Forbidden: required topology spread",
            ),
            (
                "/spec/initContainers",
                json!([{"name": "i", "image": "i:1", "restartPolicy": "Never"}]),
                "spec.initContainers[0].restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
            ),
        ],
    );
}

#[test]
fn deployments_are_refused_in_kubernetes_words() {
    check(
        &DEPLOYMENTS,
        deployment,
        &[
            ("/spec/selector", Value::Null, "spec.selector: Required value"),
            ("/spec/selector", json!({}), "spec.selector: Invalid value: {}: empty selector is invalid for deployment"),
            (
                "/spec/template/metadata/labels",
                json!({"app": "b"}),
                "spec.template.metadata.labels: Invalid value: {\"app\":\"b\"}: `selector` does not match template `labels`",
            ),
            ("/spec/replicas", json!(-1), "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
            (
                "/spec/template/spec/restartPolicy",
                json!("Never"),
                "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
            ),
            (
                "/spec/template/spec/containers/0/image",
                json!(""),
                "spec.template.spec.containers[0].image: Required value",
            ),
            (
                "/spec/strategy",
                json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}),
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0",
            ),
            (
                "/spec/strategy",
                json!({"type": "Recreate", "rollingUpdate": {}}),
                "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
            ),
            (
                "/spec/progressDeadlineSeconds",
                json!(0),
                "spec.progressDeadlineSeconds: Invalid value: 0: must be greater than minReadySeconds",
            ),
        ],
    );
}

#[test]
fn other_kinds_are_refused_in_kubernetes_words() {
    let named = || json!({"metadata": {"name": "a", "namespace": "d"}});
    check(
        &CONFIG_MAPS,
        named,
        &[
            ("/data", json!({"a/b": ""}), "data[a/b]: Invalid value: \"a/b\": a valid config key must consist of"),
            ("/data", json!({"a": "x".repeat(1_048_577)}), "[]: Too long: may not be more than 1048576 bytes"),
        ],
    );
    check(
        &SECRETS,
        named,
        &[
            ("/type", json!("kubernetes.io/tls"), "data[tls.crt]: Required value"),
            ("/data", json!({"a": "*"}), "data[a]: Invalid value: \"<secret contents redacted>\": illegal base64 data"),
        ],
    );
    check(
        &LEASES,
        named,
        &[(
            "/spec",
            json!({"leaseDurationSeconds": 0}),
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
        )],
    );
    let event = || json!({"metadata": {"name": "a", "namespace": "d"}, "involvedObject": {"namespace": "d"}});
    let wanted = "involvedObject.namespace: Invalid value: \"x\": does not match event.namespace";
    check(&EVENTS, event, &[("/involvedObject/namespace", json!("x"), wanted)]);
    let taint = json!({"key": "a", "effect": "NoSchedule"});
    check(
        &NODES,
        || json!({"metadata": {"name": "n"}}),
        &[
            (
                "/spec",
                json!({"taints": [{"key": "a", "effect": "x"}]}),
                "spec.taints[0].effect: Unsupported value: \"x\"",
            ),
            ("/spec", json!({"taints": [taint, taint]}), "spec.taints[1]: Duplicate value: "),
        ],
    );
}

fn update_complaints(resource: &Resource, base: Value, pointer: &str, value: Value) -> Vec<String> {
    let mut old = base;
    defaults::apply(resource, &mut old);
    strategy::prepare_create(resource, &mut old);
    let mut new = old.clone();
    set(&mut new, pointer, value);
    defaults::apply(resource, &mut new);
    strategy::prepare_update(resource, &mut new, &old, None);
    update(resource, &new, &old).iter().map(ToString::to_string).collect()
}

#[test]
fn a_pod_keeps_its_spec_but_for_images_and_tolerations() {
    let few = "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`";
    for (pointer, value, wanted) in [
        ("/spec/containers/0/image", json!("i:2"), ""),
        ("/spec/containers/0/image", json!(""), "spec.containers[0].image: Required value"),
        ("/metadata/labels", json!({"a": "b"}), ""),
        ("/spec/tolerations", json!([{"operator": "Exists"}]), ""),
        ("/spec/activeDeadlineSeconds", json!(5), ""),
        ("/spec/nodeName", json!("n"), few),
        ("/spec/containers/0/command", json!(["x"]), few),
        ("/spec/containers", json!([]), "spec.containers: Required value"),
        ("/metadata/uid", json!("other"), "metadata.uid: Invalid value: \"other\": field is immutable"),
    ] {
        let found = update_complaints(&PODS, pod(), pointer, value.clone());
        assert_eq!(found.is_empty(), wanted.is_empty(), "{pointer} = {value}: {found:?}");
        assert!(wanted.is_empty() || found[0].starts_with(wanted), "{pointer} = {value}: {found:?}");
    }
}

#[test]
fn selectors_and_frozen_data_are_immutable() {
    let selector = json!({"matchLabels": {"app": "b"}});
    let found = update_complaints(&DEPLOYMENTS, deployment(), "/spec/selector", selector);
    let wanted = "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"b\"}}: field is immutable";
    assert!(found.contains(&wanted.to_owned()), "{found:?}");
    assert_eq!(update_complaints(&DEPLOYMENTS, deployment(), "/spec/replicas", json!(5)), Vec::<String>::new());
    let frozen = json!({"metadata": {"name": "a", "namespace": "d"}, "immutable": true, "data": {"a": "b"}});
    let found = update_complaints(&CONFIG_MAPS, frozen, "/data/a", json!("c"));
    assert_eq!(found, ["data: Forbidden: field is immutable when `immutable` is set"]);
    let secret = json!({"metadata": {"name": "a", "namespace": "d"}});
    let found = update_complaints(&SECRETS, secret, "/type", json!("x"));
    assert_eq!(found, ["type: Invalid value: \"x\": field is immutable"]);
}
