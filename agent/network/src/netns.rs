//! Work inside a network namespace.
//!
//! A thread that has entered another namespace must never go back to a pool, so each piece of work gets a
//! thread of its own, which ends with it.

use std::{
    fs::File,
    future::Future,
    io,
    path::{Path, PathBuf},
};

use nix::sched::{CloneFlags, setns};
use rtnetlink::Handle;

use crate::network::Error;

/// Runs the work with a netlink connection of the given namespace, or of the process's own.
pub(crate) async fn inside<T, F, W>(netns: Option<&Path>, work: W) -> Result<T, Error>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Error>>,
    W: FnOnce(Handle) -> F + Send + 'static,
{
    let netns = netns.map(Path::to_owned);
    let (done, result) = tokio::sync::oneshot::channel();
    let run = move || {
        // Who asked may have gone away; the work is done all the same.
        let _ = done.send(enter_and_run(netns, work));
    };
    std::thread::Builder::new().name("netns".into()).spawn(run).map_err(failed("start a thread for netlink"))?;
    result.await.map_err(|_| failed("wait for the netlink thread")(io::Error::other("it ended early")))?
}

fn enter_and_run<T, F, W>(netns: Option<PathBuf>, work: W) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
    W: FnOnce(Handle) -> F,
{
    if let Some(path) = netns {
        let enter = || -> io::Result<()> { Ok(setns(File::open(&path)?, CloneFlags::CLONE_NEWNET)?) };
        enter().map_err(failed(format!("enter the network namespace {}", path.display())))?;
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed("start a runtime"))?;
    runtime.block_on(async {
        let (connection, handle, _messages) = rtnetlink::new_connection().map_err(failed("open a netlink socket"))?;
        tokio::spawn(connection);
        work(handle).await
    })
}

/// Writes a setting of the namespace that this thread is in.
pub(crate) fn sysctl(name: &str, value: &str) -> Result<(), Error> {
    let path = format!("/proc/sys/net/{name}");
    std::fs::write(&path, value).map_err(failed(format!("write {value} to {path}")))
}

pub(crate) fn failed(action: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let action = action.into();
    move |source| Error::Io { action, source }
}

/// The same for what netlink answers.
pub(crate) fn refused(action: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> Error {
    let action = action.into();
    move |error| {
        let source = match error {
            rtnetlink::Error::NetlinkError(message) => message.to_io(),
            other => io::Error::other(other),
        };
        Error::Io { action, source }
    }
}
