//! What is on disk about sandboxes, and what their shims say.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use super::{Inner, Result, io_error, shim_client};
use crate::error::RuntimeError;
use crate::layout::{SandboxDir, load};
use crate::namespaces;
use crate::protocol::{Request, Response};
use crate::spec::SandboxSpec;
use crate::status::{ContainerState, ContainerStatus, Sandbox, SandboxStatus};

/// A sandbox on disk, written before anything else of it is made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub spec: SandboxSpec,
    pub cgroup: String,
    /// The host's id of the root of the pod's user namespace, where it has one.
    #[serde(default)]
    pub first_id: Option<u32>,
}

pub(super) fn read(inner: &Inner, uid: &str) -> Result<Record> {
    match load(&inner.dir(uid).spec()) {
        Ok(record) => Ok(record),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(RuntimeError::NoSandbox { uid: uid.to_owned() }),
        Err(source) => Err(RuntimeError::Io { what: format!("read the record of sandbox {uid}"), source }),
    }
}

pub(super) fn describe(dir: &SandboxDir, record: &Record) -> Sandbox {
    let shim_pid = fs::read_to_string(dir.pid()).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    let has_net = namespaces::kinds(&record.spec).contains(&"net");
    Sandbox { netns_path: has_net.then(|| dir.namespace("net")), cgroup: record.cgroup.clone(), shim_pid }
}

pub(super) fn list(inner: &Inner) -> Result<Vec<SandboxStatus>> {
    let run = inner.config.data_dir.join("run");
    let mut found = Vec::new();
    for entry in fs::read_dir(&run).map_err(io_error(format!("read folder {}", run.display())))?.flatten() {
        let dir = SandboxDir(entry.path());
        // Without its record it is nothing yet; `remove_all` clears it away.
        let Ok(record) = load::<Record>(&dir.spec()) else { continue };
        found.push(status(inner, dir, record));
    }
    Ok(found)
}

/// The containers of one sandbox, and their states.
pub(super) fn containers(inner: &Inner, uid: &str) -> Result<Vec<ContainerStatus>> {
    Ok(status(inner, inner.dir(uid), read(inner, uid)?).containers)
}

fn status(inner: &Inner, dir: SandboxDir, record: Record) -> SandboxStatus {
    let states = match shim_client::ask(inner, &record.spec.uid, &Request::List) {
        Ok(Response::Containers(states)) => Some(states),
        _ => None,
    };
    let mut containers = Vec::new();
    for entry in fs::read_dir(dir.containers()).into_iter().flatten().flatten() {
        let id = entry.file_name().to_string_lossy().into_owned();
        let container = dir.container(&id);
        let Ok(spec) = load(&container.spec()) else { continue };
        let state = match &states {
            Some(states) => states.iter().find(|(name, _)| *name == id).map(|(_, state)| state.clone()),
            None => load::<ContainerState>(&container.state()).ok().map(ContainerState::without_shim),
        };
        containers.push(ContainerStatus { spec, state: state.unwrap_or_default() });
    }
    SandboxStatus { sandbox: describe(&dir, &record), spec: record.spec, alive: states.is_some(), containers }
}
