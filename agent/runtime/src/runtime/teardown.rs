//! Taking containers and sandboxes away. Errors are collected; what can go goes.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Inner, Record, Result, lock, record, sandbox, shim_client};
use crate::cgroup;
use crate::error::RuntimeError;
use crate::layout::{SandboxDir, load};
use crate::namespaces;
use crate::protocol::{Request, Response};

/// The file that a container may leave its last words in, whoever it runs as.
pub(super) fn make_termination_file(path: &Path) -> io::Result<()> {
    fs::write(path, b"")?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

struct Errors(Vec<String>);

impl Errors {
    fn note(&mut self, what: &str, result: io::Result<()>) {
        if let Err(error) = result {
            self.0.push(format!("{what}: {error}"));
        }
    }
    fn into_result(self, what: String) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(RuntimeError::Teardown { what, errors: self.0 }) }
    }
}

pub(super) fn container(inner: &Inner, uid: &str, id: &str) -> Result<()> {
    let door = inner.door(uid);
    let _one_at_a_time = lock(&door);
    let record = record::read(inner, uid)?;
    let mut errors = Errors(Vec::new());
    let group = format!("{}/{id}", record.cgroup);
    errors.note("kill", cgroup::kill(&group));
    // The shim reaps before it answers the next question: it may need a second one.
    let request = Request::Remove { container: id.to_owned() };
    for _ in 0..REMOVE_ASKS_MAX {
        match shim_client::ask(inner, uid, &request) {
            Ok(Response::Failed { .. }) => {}
            Ok(_) => break,
            Err(_) if shim_client::connect(inner, uid).is_ok() => {}
            Err(_) => {
                // What it had begun to make would come after the removal.
                errors.note("end what a lost shim left", kill(inner, &inner.dir(uid), &record.cgroup));
                break;
            }
        }
    }
    errors.note("remove the cgroup", cgroup::remove(&group));
    errors.note("remove the state", ignore_missing(fs::remove_dir_all(inner.dir(uid).container(id).0)));
    errors.into_result(format!("container {id}"))
}

/// Ends all processes of a pod whose shim is gone or is to go; what makes others first.
pub(super) fn kill(inner: &Inner, dir: &SandboxDir, cgroup: &str) -> io::Result<()> {
    cgroup::kill(&cgroup::shim_path(&inner.config.cgroup_parent, dir))?;
    cgroup::kill(cgroup)
}

/// A killed process is reaped by the shim within a turn of its loop.
const REMOVE_ASKS_MAX: usize = 20;

pub(super) fn sandbox_of(inner: &Inner, uid: &str) -> Result<()> {
    let door = inner.door(uid);
    let _one_at_a_time = lock(&door);
    let dir = inner.dir(uid);
    let cgroup = load::<Record>(&dir.spec()).ok().map(|record| record.cgroup);
    remove_dir(inner, uid, &dir, cgroup.as_deref()).into_result(format!("sandbox {uid}"))
}

fn remove_dir(inner: &Inner, uid: &str, dir: &SandboxDir, cgroup: Option<&str>) -> Errors {
    let mut errors = Errors(Vec::new());
    if let Some(cgroup) = cgroup {
        errors.note("kill", cgroup::kill(cgroup));
    }
    quit_shim(inner, uid);
    // It may have made a process meanwhile, and one that was killed has left its workers.
    let shim = cgroup::shim_path(&inner.config.cgroup_parent, dir);
    errors.note("end the workers", cgroup::kill(&shim));
    errors.note("remove the shim's cgroup", cgroup::remove(&shim));
    if let Some(cgroup) = cgroup {
        errors.note("kill", cgroup::kill(cgroup));
        errors.note("remove the cgroup", cgroup::remove(cgroup));
    }
    errors.note("unmount the namespaces", namespaces::remove(dir));
    if errors.0.is_empty() {
        errors.note("remove the folder", ignore_missing(fs::remove_dir_all(&dir.0)));
    }
    errors
}

/// Asks the shim to end, and waits for the end of its connection.
fn quit_shim(inner: &Inner, uid: &str) {
    // It never answers: the connection's end is its end.
    let _ = shim_client::ask(inner, uid, &Request::Quit);
    sandbox::reap_shim(inner, uid);
}

pub(super) fn all(inner: &Inner) -> Result<()> {
    let mut errors = Errors(Vec::new());
    let run = inner.config.data_dir.join("run");
    for entry in fs::read_dir(run).into_iter().flatten().flatten() {
        // Sockets of others lie in the same folder.
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let dir = SandboxDir(entry.path());
        let record = load::<Record>(&dir.spec()).ok();
        let uid = record.as_ref().map(|record| record.spec.uid.clone()).unwrap_or_default();
        lock(&inner.removing).insert(uid.clone());
        errors.0.extend(remove_dir(inner, &uid, &dir, record.as_ref().map(|record| record.cgroup.as_str())).0);
    }
    // A shim of an earlier agent may still be on its way out.
    errors.note("end the last shims", cgroup::kill(&cgroup::shims_path(&inner.config.cgroup_parent)));
    errors.note("remove the parent cgroup", cgroup::remove(&inner.config.cgroup_parent));
    errors.into_result("all sandboxes".into())
}
