//! What probes and hooks ask of a container, over the network or by a command in it, in the kubelet's words.

mod action;
mod address;
mod grpc;
mod http;
mod tls;
#[cfg(any(fuzzing, debug_assertions))]
pub use self::{grpc::read_status, http::Url};

use std::time::Duration;

use control_api::view::core::{Container, ExecAction, LifecycleHandler, Probe, TCPSocketAction};
use tokio::net::TcpStream;

use crate::machine::Outcome;
use crate::ports::{Exec, ExecEnd, Runtime};

/// What is kept of what a command printed, for an Event.
const OUTPUT_BYTES_MAX: usize = 1024;
/// A runtime that does not even start a command within this is not waited for.
const EXEC_START_SECONDS_MAX: u64 = 30;

/// The container that is asked.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub runtime: &'a dyn Runtime,
    pub uid: &'a str,
    pub container_id: &'a str,
    pub container: &'a Container,
    /// Empty while the pod has none.
    pub pod_ip: &'a str,
}

impl Target<'_> {
    pub async fn probe(&self, probe: &Probe) -> Outcome {
        let seconds = probe.timeout_seconds.filter(|seconds| *seconds > 0).unwrap_or(1);
        let limit = Duration::from_secs(u64::from(seconds.unsigned_abs()));
        if let Some(exec) = &probe.exec {
            self.probe_exec(exec, limit).await
        } else if let Some(get) = &probe.http_get {
            match action::request(get, self, "probe") {
                Ok(request) => match http::get(&request, Some(limit)).await {
                    Ok(answer) => answer.outcome(),
                    Err(error) => Outcome::Failure(error),
                },
                Err(error) => Outcome::Error(error),
            }
        } else if let Some(socket) = &probe.tcp_socket {
            self.probe_tcp(socket, limit).await
        } else if let Some(action) = &probe.grpc {
            let service = action.service.as_deref().unwrap_or_default();
            match u16::try_from(action.port) {
                Ok(port) => grpc::check(self.pod_ip, port, service, limit).await,
                Err(_) => Outcome::Error(format!("invalid port number: {}", action.port)),
            }
        } else {
            Outcome::Error(format!("missing probe handler for {}", self.container.name))
        }
    }

    async fn exec(&self, exec: &ExecAction, timeout: Option<Duration>) -> Result<ExecEnd, String> {
        let command = exec.command.clone().unwrap_or_default();
        let asked = Exec { command, timeout, output_bytes_max: OUTPUT_BYTES_MAX };
        let running = self.runtime.exec(self.uid, self.container_id, asked);
        let Some(timeout) = timeout else { return running.await.map_err(|error| error.message) };
        let limit = timeout.saturating_add(Duration::from_secs(EXEC_START_SECONDS_MAX));
        match tokio::time::timeout(limit, running).await {
            Ok(end) => end.map_err(|error| error.message),
            Err(_) => Ok(ExecEnd::TimedOut),
        }
    }

    async fn probe_exec(&self, exec: &ExecAction, limit: Duration) -> Outcome {
        match self.exec(exec, Some(limit)).await {
            Ok(ExecEnd::Exited { code: 0, .. }) => Outcome::Success,
            Ok(ExecEnd::Exited { output, .. }) => Outcome::Failure(String::from_utf8_lossy(&output).into_owned()),
            Ok(ExecEnd::TimedOut) => {
                let command = exec.command.clone().unwrap_or_default().join(" ");
                let after = crate::machine::words(limit.as_secs().cast_signed());
                Outcome::Failure(format!("command timed out: {command:?} timed out after {after}"))
            }
            Err(error) => Outcome::Error(error),
        }
    }

    async fn probe_tcp(&self, socket: &TCPSocketAction, limit: Duration) -> Outcome {
        let port = match address::port(&socket.port, self.container) {
            Ok(port) => port,
            Err(error) => return Outcome::Error(error),
        };
        let host = socket.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(self.pod_ip);
        let authority = address::join(host, port);
        match tokio::time::timeout(limit, TcpStream::connect((host, port))).await {
            Ok(Ok(_)) => Outcome::Success,
            Ok(Err(error)) => Outcome::Failure(address::dial_error(&authority, &error)),
            Err(_) => Outcome::Failure(format!("dial tcp {authority}: i/o timeout")),
        }
    }

    /// Runs a hook to its end, or gives it up after `limit`.
    pub async fn hook(&self, handler: &LifecycleHandler, limit: Option<Duration>) -> Result<(), String> {
        if let Some(exec) = &handler.exec {
            return match self.exec(exec, limit).await? {
                ExecEnd::Exited { code: 0, .. } => Ok(()),
                ExecEnd::Exited { code, .. } => Err(format!("the command exited with {code}")),
                ExecEnd::TimedOut => Err("the command did not end within the grace period".to_owned()),
            };
        }
        if let Some(get) = &handler.http_get {
            let request = action::request(get, self, "lifecycle")?;
            // As the kubelet has it: that it was answered is enough.
            return http::get(&request, limit).await.map(drop);
        }
        if let Some(sleep) = &handler.sleep {
            let seconds = Duration::from_secs(sleep.seconds.max(0).unsigned_abs());
            tokio::time::sleep(limit.map_or(seconds, |limit| seconds.min(limit))).await;
            return Ok(());
        }
        Err("invalid handler".to_owned())
    }
}
