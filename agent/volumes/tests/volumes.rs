//! Volumes of a pod on a real file system, with real mounts.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use agent_volumes::{Facts, Source, Volumes};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use serde_json::json;

#[derive(Default)]
struct Objects {
    config: BTreeMap<String, String>,
    secret: BTreeMap<String, ByteString>,
}

impl Source for Objects {
    fn config_map(&self, _: &str, name: &str) -> Option<ConfigMap> {
        (name == "settings").then(|| ConfigMap { data: Some(self.config.clone()), ..ConfigMap::default() })
    }

    fn secret(&self, _: &str, name: &str) -> Option<Secret> {
        (name == "keys").then(|| Secret { data: Some(self.secret.clone()), ..Secret::default() })
    }
}

/// Takes the mounts away also when a test fails.
struct Bench {
    folder: tempfile::TempDir,
    volumes: Volumes,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(folder.path().join("pods"));
        Self { folder, volumes }
    }

    fn file(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join("pods/uid-1/volumes").join(path)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.volumes.unmount("uid-1");
    }
}

fn pod(volumes: serde_json::Value, mounts: serde_json::Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "uid-1", "labels": {"app": "web", "tier": "front"}},
        "spec": {
            "securityContext": {"fsGroup": 2000},
            "containers": [{"name": "main", "image": "x", "volumeMounts": mounts,
                "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "1500m"}}}],
            "volumes": volumes,
        },
    }))
    .unwrap()
}

fn objects() -> Objects {
    Objects {
        config: [("color".to_owned(), "green".to_owned())].into(),
        secret: [("password".to_owned(), ByteString(b"s3cret".to_vec()))].into(),
    }
}

fn mounted(path: &Path) -> bool {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.contains(&format!(" {} ", path.display()))
}

#[test]
fn each_kind_of_volume_is_filled_and_taken_away() {
    let bench = Bench::new();
    let pod = pod(
        json!([
            {"name": "settings", "configMap": {"name": "settings", "defaultMode": 0o440}},
            {"name": "keys", "secret": {"secretName": "keys", "items": [{"key": "password", "path": "deep/word", "mode": 0o400}]}},
            {"name": "scratch", "emptyDir": {}},
            {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "info", "downwardAPI": {"items": [
                {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                {"path": "cpu", "resourceFieldRef": {"containerName": "main", "resource": "requests.cpu"}},
                {"path": "mem", "resourceFieldRef": {"containerName": "main", "resource": "limits.memory", "divisor": "1Mi"}}]}},
            {"name": "all", "projected": {"sources": [
                {"configMap": {"name": "settings"}}, {"secret": {"name": "absent", "optional": true}}]}},
        ]),
        json!([]),
    );
    bench.volumes.mount(&pod, &Facts::default(), &objects()).unwrap();
    bench.volumes.mount(&pod, &Facts::default(), &objects()).unwrap();
    assert_eq!(fs::read_to_string(bench.file("settings/color")).unwrap(), "green");
    assert_eq!(fs::metadata(bench.file("settings/color")).unwrap().permissions().mode() & 0o777, 0o440);
    assert_eq!(fs::metadata(bench.file("settings/color")).unwrap().gid(), 2000);
    assert_eq!(fs::read_to_string(bench.file("keys/deep/word")).unwrap(), "s3cret");
    assert!(mounted(&bench.file("keys")), "a secret must not reach the disk");
    assert_eq!(fs::metadata(bench.file("scratch")).unwrap().permissions().mode() & 0o7777, 0o2777);
    assert!(fs::write(bench.file("memory/big"), vec![0; 2 << 20]).is_err(), "the limit is not in force");
    assert_eq!(fs::read_to_string(bench.file("info/labels")).unwrap(), "app=\"web\"\ntier=\"front\"");
    assert_eq!(fs::read_to_string(bench.file("info/cpu")).unwrap(), "2");
    assert_eq!(fs::read_to_string(bench.file("info/mem")).unwrap(), "64");
    assert_eq!(fs::read_to_string(bench.file("all/color")).unwrap(), "green");
    bench.volumes.unmount("uid-1").unwrap();
    bench.volumes.unmount("uid-1").unwrap();
    assert!(!bench.folder.path().join("pods/uid-1").exists());
    assert!(!mounted(&bench.file("keys")));
}

#[test]
fn a_changed_config_map_reaches_the_files() {
    let bench = Bench::new();
    let pod = pod(json!([{"name": "settings", "configMap": {"name": "settings"}}]), json!([]));
    let mut objects = objects();
    bench.volumes.mount(&pod, &Facts::default(), &objects).unwrap();
    objects.config.insert("color".to_owned(), "blue".to_owned());
    bench.volumes.mount(&pod, &Facts::default(), &objects).unwrap();
    assert_eq!(fs::read_to_string(bench.file("settings/color")).unwrap(), "blue");
}

#[test]
fn a_sub_path_is_bound_and_cannot_leave_its_volume() {
    let bench = Bench::new();
    let pod = pod(
        json!([{"name": "scratch", "emptyDir": {}}]),
        json!([{"name": "scratch", "mountPath": "/a", "subPath": "in"}, {"name": "scratch", "mountPath": "/b", "subPath": "out"}]),
    );
    bench.volumes.mount(&pod, &Facts::default(), &objects()).unwrap();
    let bound = bench.volumes.resolve(&pod, "main", 0, "in").unwrap();
    fs::write(bound.join("file"), "x").unwrap();
    assert_eq!(fs::read_to_string(bench.file("scratch/in/file")).unwrap(), "x");
    std::os::unix::fs::symlink("/etc", bench.file("scratch/out")).unwrap();
    let error = bench.volumes.resolve(&pod, "main", 1, "out").unwrap_err();
    assert!(error.to_string().contains("leads out of the volume"), "{error}");
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let bench = Bench::new();
    let cases = [
        (json!({"name": "v", "configMap": {"name": "none"}}), "configmap \"none\" not found"),
        (json!({"name": "v", "secret": {"secretName": "none"}}), "secret \"none\" not found"),
        (
            json!({"name": "v", "configMap": {"name": "settings", "items": [{"key": "k", "path": "p"}]}}),
            "configmap \"settings\" references non-existent config key: k",
        ),
        (
            json!({"name": "v", "configMap": {"name": "settings", "items": [{"key": "color", "path": "../x"}]}}),
            "invalid path",
        ),
        (json!({"name": "v", "hostPath": {"path": "/nothing/here", "type": "Directory"}}), "is not a directory"),
        (json!({"name": "../v", "emptyDir": {}}), "cannot be a folder's name"),
    ];
    for (volume, words) in cases {
        let error = bench.volumes.mount(&pod(json!([volume]), json!([])), &Facts::default(), &objects()).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    assert!(!bench.file("../../../x").exists());
}
