//! Stories of Jobs.

use control_api::resource::{JOBS, PODS};
use control_client::{Client, DeleteOptions, Key, Patch, Propagation};
use control_controllers::job::JobController;
use control_controllers::{Action, Controller};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::cluster::{Cluster, create, value, world};

fn job(image: &str, spec: Value) -> Value {
    let mut job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "sum"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": image}]}}},
    });
    for (field, value) in spec.as_object().expect("a spec") {
        job["spec"][field] = value.clone();
    }
    job
}

fn status(client: &Client) -> Value {
    client.get(&JOBS, "default", "sum").map(|job| value(&job)["status"].clone()).unwrap_or_default()
}

fn condition(client: &Client, kind: &str) -> Option<Value> {
    let status = status(client);
    let found = status["conditions"].as_array()?.iter().find(|one| one["type"] == kind && one["status"] == "True")?;
    Some(found.clone())
}

fn pods(client: &Client) -> Vec<Value> {
    client.list(&PODS, Some("default")).items.iter().map(|pod| value(pod)).collect()
}

fn is_tracked(pod: &Value) -> bool {
    pod["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one == "batch.kubernetes.io/job-tracking"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_five_pods_two_at_a_time_completes_and_counts_each_once() {
    let cluster = Cluster::start().await;
    create(&cluster.client, &JOBS, "default", job("succeeds", json!({"completions": 5, "parallelism": 2}))).await;
    cluster.until("it is complete", |client| condition(client, "Complete").is_some()).await;
    let status = status(&cluster.client);
    assert_eq!(status["succeeded"], 5);
    assert!(status["active"].is_null() && status["failed"].is_null(), "{status}");
    assert!(status["completionTime"].is_string() && status["startTime"].is_string());
    assert_eq!(status["uncountedTerminatedPods"], json!({}));
    let met = condition(&cluster.client, "SuccessCriteriaMet").expect("the promise");
    assert_eq!(met["reason"], "CompletionsReached");
    assert_eq!(met["message"], "Reached expected number of succeeded pods");
    assert_eq!(pods(&cluster.client).len(), 5);
    assert!(!pods(&cluster.client).iter().any(is_tracked));
    cluster.until("its end is told", |_| cluster.events("Completed") == ["Job completed"]).await;
    assert_eq!(cluster.events("SuccessfulCreate").len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_indexed_job_gives_each_pod_its_index() {
    let cluster = Cluster::start().await;
    let spec = json!({"completions": 4, "parallelism": 4, "completionMode": "Indexed"});
    create(&cluster.client, &JOBS, "default", job("succeeds", spec)).await;
    cluster.until("it is complete", |client| condition(client, "Complete").is_some()).await;
    let status = status(&cluster.client);
    assert_eq!((&status["succeeded"], &status["completedIndexes"]), (&json!(4), &json!("0-3")));
    let mut indexes: Vec<String> = Vec::new();
    for pod in pods(&cluster.client) {
        let index = pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"].as_str().unwrap().to_owned();
        assert_eq!(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"], index);
        assert_eq!(pod["spec"]["hostname"], format!("sum-{index}"));
        assert!(pod["metadata"]["name"].as_str().unwrap().starts_with(&format!("sum-{index}-")));
        assert_eq!(pod["spec"]["containers"][0]["env"][0]["name"], "JOB_COMPLETION_INDEX");
        indexes.push(index);
    }
    indexes.sort();
    assert_eq!(indexes, ["0", "1", "2", "3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_fails_more_often_than_it_may_is_failed_in_kubernetes_words() {
    let cluster = Cluster::start().await;
    create(&cluster.client, &JOBS, "default", job("fails", json!({"backoffLimit": 0}))).await;
    cluster.until("it failed", |client| condition(client, "Failed").is_some()).await;
    let failed = condition(&cluster.client, "Failed").unwrap();
    assert_eq!(failed["reason"], "BackoffLimitExceeded");
    assert_eq!(failed["message"], "Job has reached the specified backoff limit");
    assert_eq!(condition(&cluster.client, "FailureTarget").unwrap()["reason"], "BackoffLimitExceeded");
    assert_eq!(status(&cluster.client)["failed"], 1);
    assert!(status(&cluster.client)["completionTime"].is_null());
    let message = "Job has reached the specified backoff limit";
    cluster.until("it is told", |_| cluster.events("BackoffLimitExceeded") == [message]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failure_the_next_pod_waits_ten_seconds() {
    let cluster = Cluster::start().await;
    create(&cluster.client, &JOBS, "default", job("fails", json!({"backoffLimit": 3}))).await;
    cluster.until("one failed and is counted", |client| status(client)["failed"] == 1).await;
    let key = Key::new(&JOBS, "default", "sum");
    let creates = |actions: &[Action]| actions.iter().any(|action| matches!(action, Action::Create { .. }));
    let waits = |actions: &[Action]| actions.iter().any(|action| matches!(action, Action::RequeueAfter(_)));
    let now = JobController.reconcile(&world(&cluster.client), &key).unwrap();
    assert!(!creates(&now) && waits(&now), "{now:?}");
    let later = world(&cluster.client).at(Timestamp::now() + SignedDuration::from_secs(11));
    assert!(creates(&JobController.reconcile(&later, &key).unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_job_has_no_pods_and_goes_on_when_it_is_resumed() {
    let cluster = Cluster::start().await;
    create(&cluster.client, &JOBS, "default", job("runs", json!({"parallelism": 2, "completions": 2}))).await;
    cluster.until("two are ready", |client| status(client)["ready"] == 2).await;
    cluster.apply(&JOBS, "sum", json!({"spec": {"suspend": true}})).await;
    cluster
        .until("none is left", |client| {
            condition(client, "Suspended").is_some() && pods(client).is_empty() && status(client)["startTime"].is_null()
        })
        .await;
    assert!(status(&cluster.client)["failed"].is_null(), "a pod that was sent away has not failed");
    cluster.apply(&JOBS, "sum", json!({"spec": {"suspend": false}})).await;
    cluster.until("they run again", |client| status(client)["ready"] == 2).await;
    assert_eq!(cluster.events("Suspended"), ["Job suspended"]);
    assert_eq!(cluster.events("Resumed"), ["Job resumed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_past_its_deadline_is_failed_and_its_pods_are_ended() {
    let cluster = Cluster::start().await;
    create(&cluster.client, &JOBS, "default", job("runs", json!({"activeDeadlineSeconds": 1}))).await;
    cluster.until("it failed", |client| condition(client, "Failed").is_some()).await;
    let failed = condition(&cluster.client, "Failed").unwrap();
    assert_eq!(failed["reason"], "DeadlineExceeded");
    assert_eq!(failed["message"], "Job was active longer than specified deadline");
    assert!(pods(&cluster.client).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_job_is_deleted_after_its_time_to_live() {
    let cluster = Cluster::start().await;
    create(&cluster.client, &JOBS, "default", job("succeeds", json!({"ttlSecondsAfterFinished": 0}))).await;
    cluster
        .until("all is gone", |client| client.get(&JOBS, "default", "sum").is_none() && pods(client).is_empty())
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_job_leaves_no_pod_held_by_its_finalizer() {
    for propagation in [Propagation::Background, Propagation::Foreground, Propagation::Orphan] {
        let cluster = Cluster::start().await;
        create(&cluster.client, &JOBS, "default", job("runs", json!({"parallelism": 2, "completions": 2}))).await;
        cluster.until("two are ready", |client| status(client)["ready"] == 2).await;
        let options = DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
        cluster.client.delete(&JOBS, "default", "sum", options).await.expect("is deleted");
        cluster.until("it is gone", |client| client.get(&JOBS, "default", "sum").is_none()).await;
        let left = if propagation == Propagation::Orphan { 2 } else { 0 };
        cluster
            .until("its pods are free", |client| pods(client).len() == left && !pods(client).iter().any(is_tracked))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_deleted_by_a_user_counts_as_failed_once() {
    let cluster = Cluster::start().await;
    create(&cluster.client, &JOBS, "default", job("runs", json!({}))).await;
    cluster.until("it runs", |client| status(client)["ready"] == 1).await;
    let name = pods(&cluster.client)[0]["metadata"]["name"].as_str().unwrap().to_owned();
    cluster.client.delete(&PODS, "default", &name, DeleteOptions::default()).await.expect("is deleted");
    cluster.until("it is counted", |client| status(client)["failed"] == 1 && pods(client).len() < 2).await;
    cluster.until("another runs", |client| status(client)["ready"] == 1).await;
    assert_eq!(status(&cluster.client)["failed"], 1);
}

/// The status is written before a finalizer goes, and a named pod is counted only without one: whatever is lost
/// between two writes, the next look finds the same sum.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_the_steps_of_counting_loses_nothing() {
    let (_, client) = crate::cluster::client();
    crate::cluster::add_namespace(&client, "default").await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    create(&client, &control_api::resource::SERVICE_ACCOUNTS, "default", account).await;
    create(&client, &JOBS, "default", job("x", json!({"completions": 2, "parallelism": 1}))).await;
    let key = Key::new(&JOBS, "default", "sum");
    let made = JobController.reconcile(&world(&client), &key).unwrap().into_iter().find_map(|action| match action {
        Action::Create { object, .. } => Some(object),
        _ => None,
    });
    let mut pod = made.expect("a pod is made");
    pod["metadata"]["name"] = json!("one");
    create(&client, &PODS, "default", pod).await;
    let done = Patch::Strategic(json!({"status": {"phase": "Succeeded"}}));
    client.patch(&PODS, "default", "one", Some("status"), done).await.expect("ends");
    // Each round does one write only, as if the server died after it.
    for _ in 0..6 {
        let actions = JobController.reconcile(&world(&client), &key).unwrap();
        let write =
            actions.into_iter().find(|action| matches!(action, Action::UpdateStatus { .. } | Action::Patch { .. }));
        match write {
            Some(Action::UpdateStatus { status, .. }) => {
                let patch = Patch::Merge(json!({"status": status}));
                client.patch(&JOBS, "default", "sum", Some("status"), patch).await.expect("is written");
            }
            Some(Action::Patch { key, patch }) => {
                client.patch(key.resource, "default", &key.name, None, patch).await.expect("is written");
            }
            _ => break,
        }
    }
    let status = status(&client);
    assert_eq!((&status["succeeded"], &status["uncountedTerminatedPods"]), (&json!(1), &json!({})));
    assert!(!is_tracked(&value(&client.get(&PODS, "default", "one").unwrap())));
}
