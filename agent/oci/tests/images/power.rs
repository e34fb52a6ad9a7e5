//! The image store on a disk that loses its power: an image that was taken in is there and whole, one that was removed
//! is there whole or not at all.
//!
//! `scripts/crash-cuts` makes more cuts than the tests do.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use agent_oci::{Config, Images, Platform};
use tests::disk::cuts::{Contents, Life, Promise, cut};

use crate::support::{Layer, digest, layout};

const TEST: &str = "power::an_image_is_there_whole_after_a_power_cut_at_any_operation_or_was_never_promised";
const CHANGES: u64 = 8;
const LAYERS: u64 = 6;
const NAMES: u64 = 3;
const FILES: usize = 4;

/// Each layer has other files by its number.
fn content(layer: u64, file: usize) -> Vec<u8> {
    format!("{layer} {file} ").into_bytes().repeat(20 + 150 * file)
}

fn layer(number: u64) -> Layer {
    let layer = Layer::new().dir("d", 0o755).file("number", number.to_string().as_bytes()).symlink("l", "number");
    (0..FILES).fold(layer, |layer, file| layer.file(&format!("d/{file}"), &content(number, file)))
}

fn is_whole(root: &Path) {
    let number: u64 = fs::read_to_string(root.join("number")).unwrap().parse().unwrap();
    for file in 0..FILES {
        assert_eq!(fs::read(root.join("d").join(file.to_string())).unwrap(), content(number, file));
    }
    assert_eq!(fs::read_link(root.join("l")).unwrap(), Path::new("number"));
}

fn open(folder: &Path) -> Images {
    Images::open(Config { platform: Platform::new("amd64", None), ..Config::new(folder) }).unwrap()
}

/// Every image by its name, once all of its layers are found whole.
fn find(folder: &Path) -> Contents {
    let images = open(folder);
    let found = images.list().unwrap().into_iter().map(|image| {
        for layer in &image.layers {
            is_whole(&folder.join("layers").join(layer.trim_start_matches("sha256:")).join("fs"));
        }
        assert_eq!(images.get(&image.name).unwrap().as_ref(), Some(&image));
        (image.name, image.id)
    });
    found.collect()
}

/// A `docker save` archive of some of the layers, and the image's id.
fn archive(place: &Path, name: &str, layers: &[u64]) -> (std::path::PathBuf, String) {
    let root = layout(place, layers.iter().map(|number| layer(*number)), "amd64", None);
    let index: serde_json::Value = serde_json::from_slice(&fs::read(root.join("index.json")).unwrap()).unwrap();
    let blob = |digest: &str| fs::read(root.join("blobs/sha256").join(digest.trim_start_matches("sha256:"))).unwrap();
    let manifest = blob(index["manifests"][0]["digest"].as_str().unwrap());
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let id = format!("sha256:{}", digest(&blob(manifest["config"]["digest"].as_str().unwrap())));
    let named = fs::read_to_string(root.join("index.json")).unwrap().replace("app:1", name);
    fs::write(root.join("index.json"), named).unwrap();
    let path = place.join("archive.tar");
    let mut tar = tar::Builder::new(fs::File::create(&path).unwrap());
    tar.append_dir_all(".", root).unwrap();
    tar.finish().unwrap();
    (path, id)
}

async fn live(mut life: Life) {
    let images = open(&life.folder);
    for _ in 0..CHANGES {
        let name = format!("example.org/app:{}", life.luck.below(NAMES));
        match life.luck.below(4) {
            0 => {
                life.begin(Promise::Lazy, &name, None);
                images.remove(&name).await.unwrap();
                life.done();
            }
            1 => {
                // Those that go are said before.
                let there: BTreeSet<String> = images.list().unwrap().into_iter().map(|image| image.name).collect();
                let kept: BTreeSet<String> = there.iter().filter(|_| life.luck.one_in(2)).cloned().collect();
                let gone: Vec<&String> = there.difference(&kept).collect();
                gone.iter().for_each(|name| life.begin(Promise::Lazy, name, None));
                // By its id an image may be held under another name.
                images.prune(&kept).await.unwrap();
                life.done();
            }
            2 => drop(images.collect().await.unwrap()),
            _ => {
                let place = tempfile::tempdir().unwrap();
                let first = life.luck.below(LAYERS);
                let numbers: Vec<u64> = (0..=life.luck.below(3)).map(|more| (first + more) % LAYERS).collect();
                let (path, id) = archive(place.path(), &name, &numbers);
                life.begin(Promise::Durable, &name, Some(&id));
                assert_eq!(images.import(&path).await.unwrap(), [name]);
                life.done();
            }
        }
    }
}

#[test]
fn an_image_is_there_whole_after_a_power_cut_at_any_operation_or_was_never_promised() {
    let Some(life) = Life::of_this_process() else { return cut(TEST, find) };
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(live(life));
}
