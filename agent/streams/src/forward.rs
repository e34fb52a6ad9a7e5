//! A connection to a port on a pod's own loopback.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use tokio::net::{TcpSocket, TcpStream};

/// On a loopback an answer comes at once, or the pod's queue of connections is full.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    #[error("failed to enter the network namespace {}", path.display())]
    Namespace { path: PathBuf, source: io::Error },
    #[error("failed to connect to {to}")]
    Connect { to: SocketAddr, source: io::Error },
    /// Both are told, as containerd does.
    #[error("failed to connect to localhost:{port} inside the pod, IPv4: {v4}, IPv6: {v6}")]
    Refused { port: u16, v4: io::Error, v6: io::Error },
}

/// Connects to the port in the namespace, or on the machine's own loopback without one.
pub async fn connect(netns: Option<&Path>, port: u16) -> Result<TcpStream, ForwardError> {
    let v4 = match dial(netns, (Ipv4Addr::LOCALHOST, port).into()).await {
        Ok(stream) => return Ok(stream),
        Err(Dial::Namespace(source)) => {
            let path = netns.unwrap_or(Path::new("")).to_owned();
            return Err(ForwardError::Namespace { path, source });
        }
        Err(Dial::Connect(error)) => error,
    };
    match dial(netns, (Ipv6Addr::LOCALHOST, port).into()).await {
        Ok(stream) => Ok(stream),
        Err(Dial::Namespace(v6) | Dial::Connect(v6)) => Err(ForwardError::Refused { port, v4, v6 }),
    }
}

/// The same to one address.
pub async fn connect_to(netns: Option<&Path>, to: SocketAddr) -> Result<TcpStream, ForwardError> {
    dial(netns, to).await.map_err(|error| match error {
        Dial::Namespace(source) => ForwardError::Namespace { path: netns.unwrap_or(Path::new("")).to_owned(), source },
        Dial::Connect(source) => ForwardError::Connect { to, source },
    })
}

enum Dial {
    Namespace(io::Error),
    Connect(io::Error),
}

async fn dial(netns: Option<&Path>, to: SocketAddr) -> Result<TcpStream, Dial> {
    let socket = move || if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = match netns {
        None => socket().map_err(Dial::Connect)?,
        Some(path) => {
            let path = path.to_owned();
            let (done, made) = tokio::sync::oneshot::channel();
            // A socket stays in the namespace that its thread was in when it was made. A thread that has entered another
            // one must never go back to a pool: it ends.
            let make = move || {
                let entered = File::open(&path).and_then(|file| Ok(setns(file, CloneFlags::CLONE_NEWNET)?));
                let made = entered.map_err(Dial::Namespace).and_then(|()| socket().map_err(Dial::Connect));
                // Who asked may have gone away.
                let _ = done.send(made);
            };
            std::thread::Builder::new().name("forward".into()).spawn(make).map_err(Dial::Namespace)?;
            made.await.unwrap_or_else(|_| Err(Dial::Namespace(io::Error::other("its thread ended early"))))?
        }
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, socket.connect(to)).await {
        Ok(connected) => connected.map_err(Dial::Connect),
        Err(_) => Err(Dial::Connect(io::ErrorKind::TimedOut.into())),
    }
}
