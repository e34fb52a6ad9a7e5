//! An image for several architectures under one name: an OCI image index.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::Registry;
use crate::guest::arch::Arch;
use crate::namespace::Namespace;
use crate::packages;
use crate::program::Said;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Pushes the demo's image for these architectures, each of Debian's busybox for it; the full reference.
pub fn demo_index(registry: &Registry, namespace: &Namespace, archs: &[Arch], name: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder for the image");
    let layout = folder.path().join("layout");
    archs.iter().for_each(|arch| add(&layout, folder.path(), *arch));
    let file = layout.join("index.json");
    let text = fs::read_to_string(&file).expect("skopeo wrote a layout");
    let mut flat: Value = serde_json::from_str(&text).expect("an index is JSON");
    for manifest in flat["manifests"].as_array_mut().expect("an index has manifests") {
        let debian = manifest["annotations"]["org.opencontainers.image.ref.name"].take();
        let arch = archs.iter().find(|arch| debian == arch.debian()).expect("one of those that were added");
        manifest["platform"] = json!({"os": "linux", "architecture": arch.kubernetes()});
        if *arch == Arch::Armv7 {
            manifest["platform"]["variant"] = "v7".into();
        }
        manifest.as_object_mut().expect("an object").remove("annotations");
    }
    flat["mediaType"] = INDEX.into();
    let digest = put_blob(&layout, flat.to_string().as_bytes());
    let outer = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": INDEX, "digest": format!("sha256:{digest}"), "size": flat.to_string().len(),
        "annotations": {"org.opencontainers.image.ref.name": "all"}}]});
    fs::write(&file, outer.to_string()).expect("the layout's index");
    let reference = format!("{}/{name}", registry.address);
    let mut skopeo = namespace.command(Path::new("skopeo"));
    skopeo.args(["copy", "-q", "--all", "--insecure-policy", "--dest-tls-verify=false"]);
    Said::by(skopeo.arg(format!("oci:{}:all", layout.display())).arg(format!("docker://{reference}"))).ok();
    reference
}

/// Adds one architecture's image to the layout, tagged by Debian's name for it.
fn add(layout: &Path, folder: &Path, arch: Arch) {
    let busybox: PathBuf = packages::unpacked(arch, "busybox-static").join("bin/busybox");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/demo-image");
    let archive = folder.join(format!("{}.tar", arch.debian()));
    let mut demo = Command::new(script);
    Said::by(demo.arg(&archive).arg("bramble.local/demo:1").arg(&busybox).arg(arch.kubernetes())).ok();
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["copy", "-q", "--insecure-policy"]).arg(format!("docker-archive:{}", archive.display()));
    Said::by(skopeo.arg(format!("oci:{}:{}", layout.display(), arch.debian()))).ok();
}

fn put_blob(layout: &Path, bytes: &[u8]) -> String {
    let draft = layout.join("draft");
    fs::write(&draft, bytes).expect("a blob");
    let said = Said::by(Command::new("sha256sum").arg(&draft));
    let digest = said.ok().split(' ').next().expect("a digest").to_owned();
    fs::rename(&draft, layout.join("blobs/sha256").join(&digest)).expect("a blob");
    digest
}
