//! Jobs, DaemonSets and ControllerRevisions.

use super::*;
use crate::resource::{CONTROLLER_REVISIONS, DAEMON_SETS, JOBS};

fn job() -> Value {
    json!({"metadata": {"name": "a", "namespace": "d", "uid": "u"}, "spec": {
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i:1"}]}},
    }})
}

#[test]
fn jobs_are_refused_in_kubernetes_words() {
    let policy = "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"";
    check(
        &JOBS,
        job,
        &[
            ("/spec/template/spec/restartPolicy", json!("Always"), policy),
            ("/spec/template/spec/restartPolicy", Value::Null, policy),
            ("/spec/parallelism", json!(-1), "spec.parallelism: Invalid value: -1: must be greater than or equal to 0"),
            ("/spec/backoffLimit", json!(-1), "spec.backoffLimit: Invalid value: -1"),
            ("/spec/completionMode", json!("Some"), "spec.completionMode: Unsupported value: \"Some\""),
            ("/spec/selector", json!({"matchLabels": {"x": "y"}}), "spec.selector: Invalid value: "),
            (
                "/spec/template/metadata",
                json!({"labels": {"controller-uid": "z"}}),
                "spec.template.metadata.labels[controller-uid]: Invalid value: ",
            ),
            (
                "/spec/podFailurePolicy",
                json!({"rules": []}),
                "spec.podFailurePolicy: Forbidden: a pod failure policy is",
            ),
            ("/spec/template", Value::Null, "spec.template.spec.containers: Required value"),
        ],
    );
    let mut indexed = job();
    indexed["spec"]["completionMode"] = json!("Indexed");
    indexed["spec"]["parallelism"] = json!(2);
    let found = complaints(&JOBS, indexed);
    assert_eq!(found, ["spec.completions: Required value: when completion mode is Indexed"]);
}

#[test]
fn a_jobs_template_stays_but_for_where_a_waiting_one_goes() {
    let mut old = job();
    defaults::apply(&JOBS, &mut old);
    strategy::prepare_create(&JOBS, &mut old);
    let wrong = |old: &Value, pointer: &str, value: Value| {
        let mut new = old.clone();
        set(&mut new, pointer, value);
        update(&JOBS, &new, old).len()
    };
    assert_eq!(wrong(&old, "/spec/parallelism", json!(3)), 0);
    assert_eq!(wrong(&old, "/spec/completions", json!(3)), 1);
    assert_eq!(wrong(&old, "/spec/template/spec/nodeSelector", json!({"a": "b"})), 1);
    old["spec"]["suspend"] = json!(true);
    assert_eq!(wrong(&old, "/spec/template/spec/nodeSelector", json!({"a": "b"})), 0);
    assert_eq!(wrong(&old, "/spec/template/spec/restartPolicy", json!("OnFailure")), 1);
}

#[test]
fn daemon_sets_and_revisions_are_refused_in_kubernetes_words() {
    let rolling = |unavailable: Value, surge: Value| json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}});
    let path = "spec.updateStrategy.rollingUpdate";
    let zero = format!("{path}.maxUnavailable: Invalid value: 0: cannot be 0 when maxSurge is 0");
    let both = format!("{path}.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero");
    check(
        &DAEMON_SETS,
        deployment,
        &[
            ("/spec/updateStrategy", rolling(json!(0), json!(0)), &zero),
            ("/spec/updateStrategy", rolling(json!(1), json!(1)), &both),
            ("/spec/updateStrategy", rolling(json!(0), json!("10%")), ""),
            ("/spec/updateStrategy", json!({"type": "OnDelete"}), ""),
            ("/spec/updateStrategy", json!({"type": "Now"}), "spec.updateStrategy.type: Unsupported value: \"Now\""),
            ("/spec/selector", json!({}), "spec.selector: Invalid value: {}: empty selector is invalid for daemonset"),
            (
                "/spec/template/spec/restartPolicy",
                json!("Never"),
                "spec.template.spec.restartPolicy: Unsupported value",
            ),
        ],
    );
    check(
        &CONTROLLER_REVISIONS,
        || json!({"metadata": {"name": "a", "namespace": "d"}, "data": {"a": 1}, "revision": 1}),
        &[("/data", Value::Null, "data: Required value"), ("/revision", json!(-1), "revision: Invalid value: -1")],
    );
}
