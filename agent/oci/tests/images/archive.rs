//! Imports of archives, honest and evil ones.

use std::{
    fs,
    io::Write,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
    process::Command,
};

use agent_oci::{Config, Images, Platform};

use crate::support::{Layer, layout};

fn images(dir: &Path) -> Images {
    Images::open(Config { platform: Platform::new("amd64", None), ..Config::new(dir.join("data")) }).unwrap()
}

/// The layout of one layer as a tar, as an import takes it.
fn archive(dir: &Path, layer: Layer) -> std::path::PathBuf {
    let root = layout(dir, &[layer], "amd64", None);
    let path = dir.join("archive.tar");
    let mut tar = tar::Builder::new(fs::File::create(&path).unwrap());
    tar.append_dir_all(".", root).unwrap();
    tar.finish().unwrap();
    path
}

fn message(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

async fn refusal(layer: Layer) -> String {
    let dir = tempfile::tempdir().unwrap();
    let images = images(dir.path());
    let error = images.import(&archive(dir.path(), layer)).await.unwrap_err();
    assert!(images.list().unwrap().is_empty());
    assert_eq!(fs::read_dir(dir.path().join("data/layers")).unwrap().count(), 0, "a refused layer left something");
    message(error)
}

async fn unpacked(layer: Layer) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let images = images(dir.path());
    assert_eq!(images.import(&archive(dir.path(), layer)).await.unwrap(), ["docker.io/library/app:1"]);
    let image = images.get("app:1").unwrap().unwrap();
    let root = dir.path().join("data/layers").join(image.layers[0].trim_start_matches("sha256:")).join("fs");
    (dir, root)
}

#[tokio::test]
async fn paths_and_links_out_of_the_root_are_refused() {
    for name in ["../evil", "a/../../evil", "/../evil"] {
        let message = refusal(Layer::new().file(name, b"x")).await;
        assert!(message.contains("leaves the root of the layer"), "{message}");
    }
    let message = refusal(Layer::new().hard_link("a", "../../../etc/passwd")).await;
    assert!(message.contains("leaves the root of the layer"), "{message}");
    let message = refusal(Layer::new().hard_link("a", "/etc/passwd")).await;
    assert!(message.contains("which is not in the layer"), "{message}");
    let message = refusal(Layer::new().symlink("out", "/etc").hard_link("a", "out/passwd")).await;
    assert!(message.contains("which is not in the layer"), "{message}");
    let message = refusal(Layer::new().file(".wh...", b"")).await;
    assert!(message.contains("leaves the root of the layer"), "{message}");
    let message = refusal(Layer::new().symlink("a", "b").symlink("b", "a").file("a/x", b"")).await;
    assert!(message.contains("symlinks in a path"), "{message}");
}

#[tokio::test]
async fn what_is_written_through_a_symlink_stays_inside() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_str().unwrap();
    let layer =
        Layer::new().symlink("abs", target).file("abs/x", b"1").symlink("up", "../../../../../..").file("up/y", b"2");
    let (_dir, root) = unpacked(layer).await;
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert_eq!(fs::read(root.join(target.trim_start_matches('/')).join("x")).unwrap(), b"1");
    assert_eq!(fs::read(root.join("y")).unwrap(), b"2");
    // A file in the place of a link replaces the link, never what it points at.
    let file = outside.path().join("file");
    fs::write(&file, "safe").unwrap();
    let (_dir, root) = unpacked(Layer::new().symlink("f", file.to_str().unwrap()).file("f", b"new")).await;
    assert_eq!((fs::read(file).unwrap(), fs::read(root.join("f")).unwrap()), (b"safe".to_vec(), b"new".to_vec()));
}

#[tokio::test]
async fn whiteouts_take_their_overlay_form_and_devices_are_left_out() {
    let layer = Layer::new()
        .file("d/.wh.gone", b"")
        .file("d/.wh..wh..opq", b"")
        .setuid("su")
        .hard_link("su2", "su")
        .entry(tar::EntryType::Char, "dev/null", 0o666, "", b"")
        .entry(tar::EntryType::Fifo, "pipe", 0o600, "", b"");
    let (_dir, root) = unpacked(layer).await;
    let gone = fs::symlink_metadata(root.join("d/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    let mut value = [0; 8];
    let length = rustix::fs::getxattr(root.join("d"), "trusted.overlay.opaque", &mut value[..]).unwrap();
    assert_eq!(&value[..length], b"y");
    assert_eq!(fs::metadata(root.join("su2")).unwrap().mode() & 0o7777, 0o4755);
    assert!(fs::symlink_metadata(root.join("pipe")).unwrap().file_type().is_fifo());
    assert!(!root.join("dev/null").exists());
}

#[tokio::test]
async fn a_header_that_claims_a_huge_name_is_refused() {
    let message = refusal(Layer::new().entry(tar::EntryType::GNULongName, "x", 0, "", &vec![b'a'; 2 << 20])).await;
    assert!(message.contains("an extension header is above the limit"), "{message}");
    let message =
        refusal(Layer::new().entry(tar::EntryType::GNULongName, "x", 0, "", &vec![b'a'; 8 << 10]).file("y", b"")).await;
    assert!(message.contains("a path's length is above the limit"), "{message}");
}

#[tokio::test]
async fn what_skopeo_writes_as_a_docker_archive_is_imported_plain_and_compressed() {
    let dir = tempfile::tempdir().unwrap();
    let root = layout(dir.path(), &[Layer::new().file("a", b"1"), Layer::new().file("b", b"2")], "amd64", None);
    let path = dir.path().join("saved.tar");
    let status = Command::new("skopeo")
        .args(["copy", "-q", "--insecure-policy", &format!("oci:{}:app:1", root.display())])
        .arg(format!("docker-archive:{}:demo/app:v1", path.display()))
        .status();
    assert!(status.unwrap().success());
    let images = images(dir.path());
    assert_eq!(images.import(&path).await.unwrap(), ["docker.io/demo/app:v1"]);
    let image = images.get("demo/app:v1").unwrap().unwrap();
    assert_eq!((image.layers.len(), image.config.entrypoint.len()), (2, 1));
    assert!(images.remove("demo/app:v1").await.unwrap());
    let packed = dir.path().join("saved.tar.gz");
    let mut gzip = flate2::write::GzEncoder::new(fs::File::create(&packed).unwrap(), flate2::Compression::fast());
    gzip.write_all(&fs::read(&path).unwrap()).unwrap();
    gzip.finish().unwrap();
    assert_eq!(images.import(&packed).await.unwrap(), ["docker.io/demo/app:v1"]);
    assert_eq!(images.get("demo/app:v1").unwrap(), Some(image));
    fs::write(&packed, "no archive").unwrap();
    assert!(images.import(&packed).await.is_err());
    assert_eq!(fs::read_dir(dir.path().join("data/images/tmp")).unwrap().count(), 0);
}
