//! What the server asks of a node on a pod's behalf: logs, exec, attach, forwarded ports. Travels as postcard, so fields are only ever appended.

use serde::{Deserialize, Serialize};

/// `GET pods/NAME/log`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRequest {
    pub namespace: String,
    pub pod: String,
    pub pod_uid: String,
    pub container: String,
    pub follow: bool,
    pub previous: bool,
    pub timestamps: bool,
    pub tail_lines: Option<u64>,
    pub since_seconds: Option<u64>,
    /// RFC 3339.
    pub since_time: Option<String>,
    pub limit_bytes: Option<u64>,
}

/// `pods/NAME/exec`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    pub namespace: String,
    pub pod: String,
    pub pod_uid: String,
    pub container: String,
    pub command: Vec<String>,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

/// `pods/NAME/attach`: the streams of a container's own process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachRequest {
    pub namespace: String,
    pub pod: String,
    pub pod_uid: String,
    pub container: String,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// The container has a terminal.
    pub tty: bool,
    /// Its input ends with the first client's.
    pub stdin_once: bool,
}

/// One connection to a port of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardRequest {
    pub namespace: String,
    pub pod: String,
    pub pod_uid: String,
    pub port: u16,
    /// The pod's own address; empty for its loopback.
    pub address: String,
}

/// From the client to the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecInput {
    Stdin(#[serde(with = "crate::raw")] Vec<u8>),
    CloseStdin,
    Resize { columns: u16, rows: u16 },
}

/// From the process to the client. `Exited` or `Failed` is the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecOutput {
    Stdout(#[serde(with = "crate::raw")] Vec<u8>),
    Stderr(#[serde(with = "crate::raw")] Vec<u8>),
    Exited { code: i32 },
    Failed { message: String },
}
