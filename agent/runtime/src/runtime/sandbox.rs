//! Making a sandbox: record, cgroup, namespaces, shim. Each step finds what an earlier try has done.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Inner, Record, Result, io_error, lock, record, shim_client, teardown};
use crate::cgroup;
use crate::dispatch;
use crate::enforce;
use crate::error::RuntimeError;
use crate::layout::{SandboxDir, save};
use crate::namespaces;
use crate::protocol::{Request, Response};
use crate::spec::SandboxSpec;
use crate::status::Sandbox;
use crate::users;

pub(super) fn create(inner: &Inner, spec: SandboxSpec) -> Result<Sandbox> {
    let uid = spec.uid.clone();
    if let Err(why) = enforce::sandbox(&spec) {
        return Err(RuntimeError::Unenforceable { what: "the pod".into(), why });
    }
    let door = inner.door(&uid);
    let _one_at_a_time = lock(&door);
    let dir = inner.dir(&uid);
    let on = |step: &str| io_error(format!("{step} of sandbox {uid}"));
    fs::create_dir_all(dir.containers()).map_err(on("create the folder"))?;
    let program = inner.program().map_err(on("make the agent's program read-only for the shim"))?;
    let record = record_of(inner, spec)?;
    if !record.spec.log_dir.as_os_str().is_empty() {
        fs::create_dir_all(&record.spec.log_dir).map_err(on("create the log folder"))?;
    }
    cgroup::create(&record.cgroup, &record.spec.resources).map_err(on("create the cgroup"))?;
    namespaces::make(&program, &dir, &record).map_err(on("create the namespaces"))?;
    let alive = matches!(shim_client::ask(inner, &uid, &Request::List), Ok(Response::Containers(_)));
    if !alive {
        // What an earlier shim kept cannot be followed any more, and must not go on beside what replaces it.
        teardown::kill(inner, &dir, &record.cgroup).map_err(on("end what is left"))?;
        spawn_shim(inner, &program, &uid, &dir).map_err(on("start the shim"))?;
        if record.spec.share_process_namespace {
            // The namespace is the shim's first work: it answers when that is done.
            shim_client::ask(inner, &uid, &Request::List)?;
        }
    }
    Ok(record::describe(&dir, &record))
}

/// Written before anything else, and before the next pod may choose its ids.
fn record_of(inner: &Inner, spec: SandboxSpec) -> Result<Record> {
    let (uid, path) = (spec.uid.clone(), inner.dir(&spec.uid).spec());
    let _choosing = lock(&inner.choosing);
    let first_id = if spec.user_namespace {
        let range = users::range(&inner.config.data_dir.join("run"), &uid);
        Some(range.map_err(io_error(format!("find ids for sandbox {uid}")))?)
    } else {
        None
    };
    let cgroup = cgroup::pod_path(&inner.config.cgroup_parent, spec.qos, &uid);
    let record = Record { spec, cgroup, first_id };
    save(&path, &record).map_err(io_error(format!("save the record of sandbox {uid}")))?;
    Ok(record)
}

/// The socket listens before the shim runs, so that nobody has to wait for it.
fn spawn_shim(inner: &Inner, program: &Path, uid: &str, dir: &SandboxDir) -> io::Result<()> {
    let socket = dir.socket();
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket)?;
    let errors = fs::File::create(dir.0.join("shim.err"))?;
    reap_shim(inner, uid);
    let shim = Command::new(program)
        .arg0("bramble-shim")
        .arg(dispatch::SHIM)
        .arg(&dir.0)
        .arg(cgroup::shim_path(&inner.config.cgroup_parent, dir))
        // The agent's environment may hold its join token.
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::null())
        .stderr(errors)
        .current_dir("/")
        .spawn()?;
    fs::write(dir.pid(), shim.id().to_string())?;
    lock(&inner.shims).insert(uid.to_owned(), shim);
    Ok(())
}

/// Takes the end of a shim that is known to be ending. It usually outlives this process, which then need not care.
pub(super) fn reap_shim(inner: &Inner, uid: &str) {
    let shim = lock(&inner.shims).remove(uid);
    if let Some(mut shim) = shim {
        let _ = shim.kill();
        let _ = shim.wait();
    }
}
