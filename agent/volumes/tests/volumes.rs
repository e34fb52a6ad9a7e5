//! Volumes of a pod on a real file system, with real mounts.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use agent_volumes::{Facts, Source, Volumes};
use control_api::view::ByteString;
use control_api::view::core::{
    ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod, Secret, ServiceAccountTokenProjection,
};
use serde_json::json;

#[derive(Default)]
struct Objects {
    config: BTreeMap<String, String>,
    secret: BTreeMap<String, ByteString>,
    claims: BTreeMap<String, PersistentVolumeClaim>,
    volumes: BTreeMap<String, PersistentVolume>,
    token: Option<String>,
}

impl Source for Objects {
    fn config_map(&self, _: &str, name: &str) -> Option<ConfigMap> {
        (name == "settings").then(|| ConfigMap { data: Some(self.config.clone()), ..ConfigMap::default() })
    }

    fn secret(&self, _: &str, name: &str) -> Option<Secret> {
        (name == "keys").then(|| Secret { data: Some(self.secret.clone()), ..Secret::default() })
    }

    fn claim(&self, _: &str, name: &str) -> Option<PersistentVolumeClaim> {
        self.claims.get(name).cloned()
    }

    fn persistent_volume(&self, name: &str) -> Option<PersistentVolume> {
        self.volumes.get(name).cloned()
    }

    fn token(&self, _: &Pod, wanted: &ServiceAccountTokenProjection) -> Option<String> {
        self.token.clone().map(|token| format!("{token} for {}", wanted.audience.as_deref().unwrap_or("the API")))
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
        let volumes = Volumes::new(folder.path().join("pods"), folder.path().join("local-path"));
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
        ..Objects::default()
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
    bench.volumes.mount(&pod, &facts(), &objects()).unwrap();
    bench.volumes.mount(&pod, &facts(), &objects()).unwrap();
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
    bench.volumes.mount(&pod, &facts(), &objects).unwrap();
    objects.config.insert("color".to_owned(), "blue".to_owned());
    bench.volumes.mount(&pod, &facts(), &objects).unwrap();
    assert_eq!(fs::read_to_string(bench.file("settings/color")).unwrap(), "blue");
}

#[test]
fn a_token_is_empty_until_it_comes_and_an_old_one_stays() {
    let bench = Bench::new();
    let sources = json!([
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {"serviceAccountToken": {"path": "vault/token", "audience": "vault"}},
    ]);
    let mut pod = pod(json!([{"name": "access", "projected": {"sources": sources}}]), json!([]));
    let mount = |pod: &Pod, token: Option<&str>| {
        let objects = Objects { token: token.map(str::to_owned), ..objects() };
        bench.volumes.mount(pod, &Facts::default(), &objects).unwrap()
    };
    let read = |path: &str| fs::read_to_string(bench.file(path)).unwrap();
    let facts = |path: &str| {
        let data = fs::metadata(bench.file(path)).unwrap();
        (data.permissions().mode() & 0o777, data.uid(), data.gid())
    };
    assert_eq!(mount(&pod, None), ["access"]);
    assert_eq!(read("access/token"), "");
    assert!(mounted(&bench.file("access")), "a token is in memory only");
    assert!(mount(&pod, Some("first")).is_empty());
    assert_eq!(
        (read("access/token").as_str(), read("access/vault/token").as_str()),
        ("first for the API", "first for vault")
    );
    assert_eq!(facts("access/token"), (0o640, 0, 2000));
    assert!(mount(&pod, None).is_empty());
    assert_eq!(read("access/token"), "first for the API");
    mount(&pod, Some("second"));
    assert_eq!(read("access/token"), "second for the API");
    // Without a group it is readable by all, and with one user for all containers by that user alone.
    let context = &mut pod.spec.as_mut().unwrap().security_context.as_mut().unwrap();
    context.fs_group = None;
    mount(&pod, Some("third"));
    assert_eq!(facts("access/token").0, 0o644);
    pod.spec.as_mut().unwrap().security_context.as_mut().unwrap().run_as_user = Some(1234);
    mount(&pod, Some("fourth"));
    assert_eq!(facts("access/token"), (0o600, 1234, 0));
}

#[test]
fn a_sub_path_is_bound_and_cannot_leave_its_volume() {
    let bench = Bench::new();
    let pod = pod(
        json!([{"name": "scratch", "emptyDir": {}}]),
        json!([{"name": "scratch", "mountPath": "/a", "subPath": "in"}, {"name": "scratch", "mountPath": "/b", "subPath": "out"}]),
    );
    bench.volumes.mount(&pod, &facts(), &objects()).unwrap();
    let bound = bench.volumes.resolve(&pod, "main", (0, "in"), &objects()).unwrap();
    fs::write(bound.join("file"), "x").unwrap();
    assert_eq!(fs::read_to_string(bench.file("scratch/in/file")).unwrap(), "x");
    std::os::unix::fs::symlink("/etc", bench.file("scratch/out")).unwrap();
    let error = bench.volumes.resolve(&pod, "main", (1, "out"), &objects()).unwrap_err();
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
        let error = bench.volumes.mount(&pod(json!([volume]), json!([])), &facts(), &objects()).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    assert!(!bench.file("../../../x").exists());
}

fn claimed(volume: serde_json::Value) -> Objects {
    let claim = json!({"metadata": {"name": "data", "namespace": "default", "uid": "c"}, "spec": {"volumeName": "pv"}});
    Objects {
        claims: [("data".to_owned(), serde_json::from_value(claim).unwrap())].into(),
        volumes: [("pv".to_owned(), serde_json::from_value(volume).unwrap())].into(),
        ..Objects::default()
    }
}

fn local_path_volume() -> serde_json::Value {
    json!({
        "metadata": {"name": "pv", "annotations": {"pv.kubernetes.io/provisioned-by": "bramble.dev/local-path"}},
        "spec": {"claimRef": {"uid": "c"}, "hostPath": {"path": "/var/lib/bramble/local-path/pv_default_data"}},
    })
}

fn claiming() -> Pod {
    let volumes = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]);
    pod(volumes, json!([{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/w", "subPath": "inner"}]))
}

#[test]
fn a_local_path_volume_is_made_once_outlives_its_pod_and_is_removed_when_asked() {
    let bench = Bench::new();
    let (objects, pod) = (claimed(local_path_volume()), claiming());
    let mut free = pod.clone();
    free.spec.as_mut().unwrap().security_context = None;
    bench.volumes.mount(&free, &facts(), &objects).unwrap();
    let folder = bench.folder.path().join("local-path/pv_default_data");
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o7777, 0o777);
    assert_eq!(bench.volumes.resolve(&pod, "main", (0, ""), &objects).unwrap(), folder);
    fs::write(folder.join("kept"), "data").unwrap();
    let part = bench.volumes.resolve(&pod, "main", (1, "inner"), &objects).unwrap();
    fs::write(part.join("file"), "x").unwrap();
    assert_eq!(fs::read_to_string(folder.join("inner/file")).unwrap(), "x");

    // The next pod has a group, which gets all that is there.
    bench.volumes.mount(&pod, &facts(), &objects).unwrap();
    let kept = fs::metadata(folder.join("kept")).unwrap();
    assert_eq!((kept.gid(), kept.permissions().mode() & 0o660), (2000, 0o660));
    bench.volumes.unmount("uid-1").unwrap();
    assert_eq!(fs::read_to_string(folder.join("kept")).unwrap(), "data");
    for _ in 0..2 {
        bench.volumes.remove_data(&local_path_volume()).unwrap();
        assert!(!folder.exists());
    }
}

#[test]
fn a_claim_that_is_not_there_or_has_no_volume_of_ours_is_told_in_words() {
    let bench = Bench::new();
    let pod = claiming();
    let why = |objects: &Objects| bench.volumes.mount(&pod, &facts(), objects).unwrap_err().to_string();
    assert!(why(&objects()).contains("persistentvolumeclaim \"data\" not found"));
    let mut unbound = claimed(local_path_volume());
    unbound.claims.get_mut("data").unwrap().spec.as_mut().unwrap().volume_name = None;
    assert!(why(&unbound).contains("is not bound yet"));
    let mut stolen = local_path_volume();
    stolen["spec"]["claimRef"]["uid"] = json!("another");
    assert!(why(&claimed(stolen)).contains("belongs to another claim"));
    let mut outside = local_path_volume();
    outside["spec"]["hostPath"]["path"] = json!("/var/lib/bramble/local-path/../../etc");
    assert!(why(&claimed(outside)).contains("none of a local-path volume"));
    let nfs = json!({
        "metadata": {"name": "pv"},
        "spec": {"claimRef": {"uid": "c"}, "nfs": {"server": "nas", "path": "/x"}},
    });
    assert!(why(&claimed(nfs)).contains("not supported yet"));
    let local = json!({"metadata": {"name": "pv"}, "spec": {"claimRef": {"uid": "c"}, "local": {"path": "/no/such"}}});
    assert!(why(&claimed(local)).contains("path \"/no/such\" does not exist"));
}

#[test]
fn a_volume_made_by_hand_is_mounted_where_it_lies() {
    let bench = Bench::new();
    let place = bench.folder.path().join("disk");
    let spec = json!({"claimRef": {"uid": "c"}, "hostPath": {"path": place, "type": "DirectoryOrCreate"}});
    let objects = claimed(json!({"metadata": {"name": "pv"}, "spec": spec}));
    let pod = claiming();
    bench.volumes.mount(&pod, &facts(), &objects).unwrap();
    assert!(place.is_dir());
    assert_eq!(bench.volumes.resolve(&pod, "main", (0, ""), &objects).unwrap(), place);
}

fn facts() -> Facts {
    let (node_name, host_ips, pod_ips) = ("node".to_owned(), Vec::new(), Vec::new());
    Facts { node_name, host_ips, pod_ips, cpu_milli: 1000, memory_bytes: 1 << 30 }
}
