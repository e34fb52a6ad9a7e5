//! Pulls from a real registry on the loopback address.

use std::{collections::BTreeSet, os::unix::fs::MetadataExt, path::Path, sync::Arc};

use agent_oci::{
    Config, Credentials, Images, Platform, PlatformsError, PullError, PullReason, RegistryConfig, Snapshots,
};

use crate::support::{LOGIN, Layer, Registry, layout};

fn images(dir: &Path, registry: &Registry) -> Images {
    let registries = RegistryConfig { insecure: vec![registry.host()], ..Default::default() };
    Images::open(Config { registries, platform: Platform::new("amd64", None), ..Config::new(dir) }).unwrap()
}

async fn pull(images: &Images, name: &str) -> Result<agent_oci::Image, PullError> {
    images.pull(name, &Credentials::none(), |_| {}).await
}

/// Unmounts what a test mounted, also when it fails.
struct Mounted(Snapshots, &'static str);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.0.rootfs(self.1), nix::mount::MntFlags::MNT_DETACH);
    }
}

#[tokio::test]
async fn an_image_is_pulled_once_mounted_written_to_and_pruned() {
    let registry = Registry::start(None);
    let dir = tempfile::tempdir().unwrap();
    let layers = [
        Layer::new()
            .dir("etc", 0o755)
            .file("etc/passwd", b"web:x:33:34::/srv:/bin/sh\n")
            .file("gone", b"x")
            .dir("opaque", 0o755)
            .file("opaque/old", b"x"),
        Layer::new().file(".wh.gone", b"").file("opaque/.wh..wh..opq", b"").file("opaque/new", b"y").setuid("su"),
    ];
    registry.push(&layout(dir.path(), &layers, "amd64", None), "app:1");
    let name = format!("{}/app:1", registry.host());
    let images = images(&dir.path().join("data"), &registry);
    let (one, two) = tokio::join!(pull(&images, &name), pull(&images, &name));
    let (image, two) = (one.unwrap(), two.unwrap());
    assert_eq!(image, two);
    assert_eq!(image.repo_digest.as_deref(), Some(format!("{}/app@{}", registry.host(), image.digest).as_str()));
    assert_eq!(image.config.entrypoint, ["/entry"]);
    assert_eq!(images.get(&name).unwrap().as_ref(), Some(&image));
    assert_eq!(images.get(&image.id).unwrap().as_ref(), Some(&image));

    let snapshots = images.snapshots();
    let _mounted = Mounted(snapshots.clone(), "c1");
    let root = snapshots.mount("c1", &image, None).await.unwrap();
    assert!(!root.join("gone").exists());
    assert_eq!(std::fs::read_dir(root.join("opaque")).unwrap().count(), 1);
    assert_eq!(std::fs::metadata(root.join("su")).unwrap().mode() & 0o7777, 0o4755);
    assert_eq!(agent_oci::resolve_user(&root, "web").unwrap().uid, 33);
    std::fs::write(root.join("mine"), "kept").unwrap();
    assert_eq!(snapshots.mount("c1", &image, None).await.unwrap(), root);
    snapshots.unmount("c1").await.unwrap();
    assert!(!root.join("mine").exists());
    snapshots.mount("c1", &image, None).await.unwrap();
    assert_eq!(std::fs::read_to_string(root.join("mine")).unwrap(), "kept");

    let pruned = images.prune(&BTreeSet::new()).await.unwrap();
    assert_eq!((pruned.names.len(), pruned.layers), (1, 0), "layers below a mounted root stay");
    snapshots.remove("c1").await.unwrap();
    snapshots.remove("c1").await.unwrap();
    assert_eq!(images.collect().await.unwrap().layers, 2);
    assert!(images.list().unwrap().is_empty());
    assert_eq!(std::fs::read_dir(dir.path().join("data/layers")).unwrap().count(), 0);
}

#[tokio::test]
async fn an_image_that_the_registry_lacks_is_not_found_and_a_bad_name_is_told() {
    let registry = Registry::start(None);
    let dir = tempfile::tempdir().unwrap();
    let images = images(dir.path(), &registry);
    let name = format!("{}/none:1", registry.host());
    let error = pull(&images, &name).await.unwrap_err();
    assert_eq!(error.reason(), PullReason::ErrImagePull);
    let expected = format!(
        "failed to pull and unpack image \"{name}\": failed to resolve reference \"{name}\": {name}: not found"
    );
    assert_eq!(error.message(), expected);
    let error = pull(&images, "Not A Name").await.unwrap_err();
    assert_eq!(error.reason(), PullReason::InvalidImageName);
    let refused = pull(&images, "127.0.0.1:1/x").await.unwrap_err();
    assert!(
        refused.message().contains("plain HTTP is not allowed") || refused.message().contains("refused"),
        "{}",
        refused.message()
    );
}

/// An index of three platforms and a build attestation, whose images are in the registry already.
fn multi(registry: &Registry, folder: &Path) -> String {
    let mut entries = Vec::new();
    for (architecture, variant) in [("amd64", None), ("arm64", Some("v8")), ("arm", Some("v7"))] {
        let layer = Layer::new().file("arch", architecture.as_bytes());
        let from = folder.join(architecture);
        std::fs::create_dir(&from).unwrap();
        let (digest, size) =
            registry.push(&layout(&from, &[layer], architecture, variant), &format!("multi:{architecture}"));
        let variant = variant.map_or(String::new(), |v| format!(r#","variant":"{v}""#));
        entries.push(format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":{size},"platform":{{"os":"linux","architecture":"{architecture}"{variant}}}}}"#
        ));
        if entries.len() == 1 {
            entries.push(entries[0].replace("amd64", "unknown").replace("linux", "unknown"));
        }
    }
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{}]}}"#,
        entries.join(",")
    )
}

#[tokio::test]
async fn a_manifest_list_gives_each_board_its_own_image() {
    let registry = Registry::start(None);
    let dir = tempfile::tempdir().unwrap();
    let host = registry.host();
    let index = multi(&registry, dir.path());
    registry.put_manifest("multi", "1", "application/vnd.oci.image.index.v1+json", &index);
    for (n, platform) in
        [Platform::new("amd64", None), Platform::new("arm64", Some("v8")), Platform::new("arm", Some("v7"))]
            .into_iter()
            .enumerate()
    {
        let registries = RegistryConfig { insecure: vec![host.clone()], ..Default::default() };
        let data = dir.path().join(format!("data{n}"));
        let architecture = platform.architecture.clone();
        let images = Images::open(Config { registries, platform, ..Config::new(&data) }).unwrap();
        let image = pull(&images, &format!("{host}/multi:1")).await.unwrap();
        let layer = data.join("layers").join(image.layers[0].trim_start_matches("sha256:")).join("fs/arch");
        assert_eq!(std::fs::read_to_string(layer).unwrap(), architecture);
    }
    let registries = RegistryConfig { insecure: vec![host.clone()], ..Default::default() };
    let riscv =
        Config { registries, platform: Platform::new("riscv64", None), ..Config::new(dir.path().join("data9")) };
    let error = pull(&Images::open(riscv).unwrap(), &format!("{host}/multi:1")).await.unwrap_err();
    assert!(error.message().ends_with("no match for platform in manifest: not found"), "{}", error.message());
}

#[tokio::test]
async fn a_registry_with_passwords_serves_who_has_one_and_a_mirror_is_asked_first() {
    let registry = Registry::start(Some(LOGIN));
    let dir = tempfile::tempdir().unwrap();
    registry.push(&layout(dir.path(), &[Layer::new().file("a", b"1")], "amd64", None), "private/app:1");
    let name = format!("{}/private/app:1", registry.host());
    let images = images(&dir.path().join("data"), &registry);
    let denied = pull(&images, &name).await.unwrap_err().message();
    assert!(denied.contains("pull access denied") && denied.contains("no basic auth credentials"), "{denied}");
    let mut credentials = Credentials::none();
    credentials.add(&registry.host(), "user", "secret");
    assert!(images.pull(&name, &credentials, |_| {}).await.is_ok());

    let open = Registry::start(None);
    let from = dir.path().join("mirrored");
    std::fs::create_dir(&from).unwrap();
    open.push(&layout(&from, &[Layer::new().file("b", b"2")], "amd64", None), "library/thing:1");
    let mirrors = [("docker.io".to_owned(), vec![format!("http://{}", open.host())])].into();
    let registries = RegistryConfig { mirrors, ..Default::default() };
    let config =
        Config { registries, platform: Platform::new("amd64", None), ..Config::new(dir.path().join("mirror-data")) };
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let report = {
        let seen = seen.clone();
        move |progress| seen.lock().unwrap().push(progress)
    };
    let image = Images::open(config).unwrap().pull("thing:1", &Credentials::none(), report).await.unwrap();
    assert_eq!(image.name, "docker.io/library/thing:1");
    assert!(seen.lock().unwrap().iter().any(|p| matches!(p, agent_oci::Progress::Unpacked { .. })));
}

#[tokio::test]
async fn a_layer_with_another_digest_is_refused_and_leaves_nothing() {
    let registry = Registry::start(None);
    let dir = tempfile::tempdir().unwrap();
    registry.push(&layout(dir.path(), &[Layer::new().file("a", b"1")], "amd64", None), "app:1");
    registry.corrupt_largest_blob();
    let images = images(&dir.path().join("data"), &registry);
    let error = pull(&images, &format!("{}/app:1", registry.host())).await.unwrap_err();
    assert!(error.message().contains("unexpected digest"), "{}", error.message());
    assert_eq!(std::fs::read_dir(dir.path().join("data/layers")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(dir.path().join("data/images/tmp")).unwrap().count(), 0);
}

#[tokio::test]
async fn the_platforms_of_an_image_are_told_by_its_index_or_its_configuration_without_a_download() {
    let registry = Registry::start(None);
    let dir = tempfile::tempdir().unwrap();
    let host = registry.host();
    let index = multi(&registry, dir.path());
    registry.put_manifest("multi", "1", "application/vnd.oci.image.index.v1+json", &index);
    let images = images(&dir.path().join("data"), &registry);
    let none = Credentials::none();
    let shown = async |name: &str| {
        let found = images.platforms(&format!("{host}/{name}"), &none).await;
        found.map(|all| all.iter().map(Platform::to_string).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(shown("multi:1").await.unwrap(), "linux/amd64 linux/arm/v7 linux/arm64/v8");
    assert_eq!(shown("multi:arm").await.unwrap(), "linux/arm/v7");
    // An index that leaves it to its images.
    let silent = index.replace(r#""platform""#, r#""other""#);
    registry.put_manifest("multi", "silent", "application/vnd.oci.image.index.v1+json", &silent);
    assert_eq!(shown("multi:silent").await.unwrap(), "linux/amd64 linux/arm/v7 linux/arm64/v8");
    assert!(matches!(shown("none:1").await, Err(PlatformsError::Unknowable(why)) if why.contains("not found")));
    assert!(matches!(shown("Not A Name").await, Err(PlatformsError::Unknowable(_))));
    drop(registry);
    assert!(matches!(shown("multi:1").await, Err(PlatformsError::Unreachable(why)) if why.contains("refused")));
    assert!(images.list().unwrap().is_empty());
    assert_eq!(std::fs::read_dir(dir.path().join("data/layers")).unwrap().count(), 0);
}

#[tokio::test]
async fn the_platforms_of_a_private_image_are_told_to_who_has_its_password() {
    let registry = Registry::start(Some(LOGIN));
    let dir = tempfile::tempdir().unwrap();
    registry.push(&layout(dir.path(), &[Layer::new().file("a", b"1")], "arm64", Some("v8")), "private/app:1");
    let name = format!("{}/private/app:1", registry.host());
    let images = images(&dir.path().join("data"), &registry);
    let denied = images.platforms(&name, &Credentials::none()).await;
    assert!(matches!(denied, Err(PlatformsError::Unknowable(why)) if why.contains("pull access denied")));
    let mut credentials = Credentials::none();
    credentials.add(&registry.host(), "user", "secret");
    assert_eq!(images.platforms(&name, &credentials).await.unwrap(), [Platform::new("arm64", Some("v8"))]);
}
