//! What travels: postcard frames, each behind a little-endian u32 length, at most [`FRAME_BYTES_MAX`].
//!
//! Variants and fields are only ever appended; [`PROTOCOL`] counts the changes that an old peer cannot read.

use control_api::stream::{ExecInput, ExecOutput, ExecRequest, LogRequest};
use serde::{Deserialize, Serialize};

/// The protocol spoken by this build.
pub const PROTOCOL: u32 = 1;
/// The largest frame either side reads: an object of Kubernetes' 1.5 MiB limit and its envelope.
pub const FRAME_BYTES_MAX: usize = 2 << 20;

/// First frame on a stream that the agent opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opening {
    /// Without a client certificate: asks for one. Answered by `JoinAnswer`; nothing else is legal on such a connection.
    Join(JoinRequest),
    /// First on every connection with a certificate. Answered by `Welcome`.
    Hello(Hello),
    /// Desired state from a revision on: answered by `Sync` frames for as long as the stream lives.
    Sync { since: u64, epoch: u64 },
    /// `Report` frames follow; each is answered by `Ack`.
    Report,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    pub protocol: u32,
    /// The cluster the token names; a server of another one says so.
    pub cluster: String,
    pub token_id: String,
    pub token_secret: String,
    pub node_name: String,
    /// PKCS#10, DER: the key never leaves the node.
    pub csr: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinAnswer {
    Admitted {
        certificate: Vec<u8>,
        ca: Vec<u8>,
        server_time_ms: i64,
    },
    /// In plain words, and which of forged, expired, used up it is.
    Refused {
        message: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub protocol: u32,
    pub node_name: String,
    pub agent_version: String,
    /// `linux/arm64`, `linux/arm/v7`, `linux/amd64`.
    pub platform: String,
    /// A Node object as JSON: labels, addresses, capacity, nodeInfo. The server creates or refreshes the Node by it.
    pub node: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Welcome {
    Accepted {
        protocol: u32,
        server_version: String,
        server_time_ms: i64,
        /// The node's pod range, `10.42.3.0/24`.
        pod_range: String,
    },
    Refused {
        message: String,
    },
}

/// One object of the desired state: `resource` is `pods`, `configmaps`, `secrets`, `serviceaccounts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sync {
    /// What follows up to `Synced` is everything; drop what is not in it. `epoch` changes when revisions cannot be compared.
    Reset {
        epoch: u64,
    },
    Put {
        resource: String,
        namespace: String,
        name: String,
        revision: u64,
        json: Vec<u8>,
    },
    Delete {
        resource: String,
        namespace: String,
        name: String,
        revision: u64,
    },
    /// Everything up to `revision` was sent.
    Synced {
        revision: u64,
        epoch: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// Every 10 s; never written to disk.
    Heartbeat { time_ms: i64 },
    /// The Node's `status`, as JSON, when it changed.
    NodeStatus { json: Vec<u8> },
    /// A pod's `status`, as JSON. Re-sent for every pod after a reconnect.
    PodStatus { namespace: String, name: String, uid: String, json: Vec<u8> },
    /// All of the pod is gone from the node: the server removes the object if its deletion was asked for.
    PodGone { namespace: String, name: String, uid: String },
    /// A core/v1 Event, as JSON without metadata.name.
    Event { json: Vec<u8> },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Frames of this stream taken so far.
    pub taken: u64,
}

/// First frame on a stream that the server opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Answered by `LogOutput` frames.
    Log(LogRequest),
    /// `ExecInput` frames go to the node, `ExecOutput` frames come back.
    Exec(ExecRequest),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogOutput {
    Data(Vec<u8>),
    End,
    Failed {
        message: String,
    },
    /// The log was found; sent before the first line, which may be long in coming.
    Started,
}

/// So that a reader of this file sees every frame of an exec stream.
pub type ExecFrames = (ExecInput, ExecOutput);
