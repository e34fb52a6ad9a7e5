//! Device nodes and device rules of a container.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::spec::ContainerSpec;

/// Nodes that a privileged container gets are found this deep below /dev.
const DEPTH_MAX: usize = 4;

/// True where no device rule is to be in force.
pub(crate) fn is_allowed_everything(spec: &ContainerSpec) -> bool {
    spec.privileged
}

/// Nodes to make beside the default ones.
pub(crate) fn nodes(spec: &ContainerSpec) -> Vec<Value> {
    let mut nodes: Vec<Value> =
        spec.devices.iter().filter_map(|device| node(&device.host_path, &device.container_path)).collect();
    if spec.privileged {
        let mut paths = Vec::new();
        find(Path::new("/dev"), 0, &mut paths);
        nodes.extend(paths.iter().filter_map(|path| node(path, path)));
    }
    nodes
}

/// Rules in the order in which they are applied; the default devices are allowed after them.
pub(crate) fn rules(spec: &ContainerSpec) -> Vec<Value> {
    if spec.privileged {
        return vec![json!({ "allow": true, "access": "rwm" })];
    }
    let mut rules = vec![json!({ "allow": false, "access": "rwm" })];
    for device in &spec.devices {
        if let Some((typ, major, minor)) = identity(&device.host_path) {
            let access = if device.access.is_empty() { "rwm" } else { &device.access };
            rules.push(json!({ "allow": true, "type": typ, "major": major, "minor": minor, "access": access }));
        }
    }
    rules
}

fn node(host: &Path, container: &Path) -> Option<Value> {
    let (typ, major, minor) = identity(host)?;
    let meta = fs::metadata(host).ok()?;
    Some(json!({
        "path": container, "type": typ, "major": major, "minor": minor,
        "fileMode": meta.mode() & 0o777, "uid": meta.uid(), "gid": meta.gid(),
    }))
}

fn identity(path: &Path) -> Option<(&'static str, u64, u64)> {
    let meta = fs::metadata(path).ok()?;
    let typ = if meta.file_type().is_block_device() {
        "b"
    } else if meta.file_type().is_char_device() {
        "c"
    } else {
        return None;
    };
    let number = meta.rdev();
    Some((typ, nix::sys::stat::major(number), nix::sys::stat::minor(number)))
}

fn find(dir: &Path, depth: usize, out: &mut Vec<PathBuf>) {
    // The container has its own of these.
    let own = ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/console", "/dev/ptmx", "/dev/tty", "/dev/null"];
    let default = ["/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_own = own.iter().chain(&default).any(|own| path == Path::new(own));
        let Ok(kind) = entry.file_type() else { continue };
        if is_own {
            continue;
        }
        if kind.is_dir() && depth < DEPTH_MAX {
            find(&path, depth + 1, out);
        } else if kind.is_char_device() || kind.is_block_device() {
            out.push(path);
        }
    }
}
