//! What travels: postcard frames, each behind a little-endian u32 length, at most [`FRAME_BYTES_MAX`].
//!
//! Variants and fields are only ever appended; [`PROTOCOL`] counts the changes that an old peer cannot read.

use std::fmt;

use control_api::image::PlatformsRequest;
use control_api::stream::{AttachRequest, ExecInput, ExecOutput, ExecRequest, ForwardRequest, LogRequest};
use control_api::usage::UsageRequest;
use serde::{Deserialize, Serialize};

pub use control_api::image::PlatformsAnswer;

pub use crate::account::{TokenAnswer, TokenRequest};

/// The protocol spoken by this build.
pub const PROTOCOL: u32 = 2;
/// The largest frame either side reads: an object of Kubernetes' 1.5 MiB limit and its envelope.
pub const FRAME_BYTES_MAX: usize = 2 << 20;
/// The largest frame read of a peer that has shown no certificate: a request for one.
pub const STRANGER_FRAME_BYTES_MAX: usize = 16 << 10;
/// The largest greeting: a Node without its status' lists. Every certificate of the cluster's CA gets so far, users' too.
pub const GREETING_FRAME_BYTES_MAX: usize = 256 << 10;

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
    /// Without a certificate and without a token: asks an administrator to be let in. Answered by `JoinAnswer::Waiting`
    /// and, some time later on the same stream, by one of the others.
    Pending(PendingRequest),
    /// A new certificate for a key that the cluster knows. On a session, or without a certificate: the request's own
    /// signature proves the key, so that a node whose certificate ran out while it was off comes back. Answered by `JoinAnswer`.
    Renew(RenewRequest),
    /// A ServiceAccount's token for a pod of the node. Answered by `TokenAnswer`.
    Token(TokenRequest),
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// Without the secret, so that it never reaches a log.
impl fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, cluster, token_id, node_name, .. } = self;
        f.debug_struct("JoinRequest")
            .field("protocol", protocol)
            .field("cluster", cluster)
            .field("token_id", token_id)
            .field("node_name", node_name)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingRequest {
    pub protocol: u32,
    pub node_name: String,
    pub agent_version: String,
    /// As in `Hello`.
    pub platform: String,
    /// PKCS#10, DER.
    pub csr: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewRequest {
    pub node_name: String,
    /// PKCS#10, DER, of the node's one key.
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
    /// The server holds the request for an administrator to see.
    Waiting {
        server_time_ms: i64,
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
    #[serde(with = "control_api::raw")]
    pub node: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Welcome {
    Accepted(Accepted),
    Refused { message: String },
}

/// The server's greeting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    pub protocol: u32,
    pub server_version: String,
    pub server_time_ms: i64,
    pub network: NodeNetwork,
    /// `host:port` of every server's UDP port, the likeliest first.
    pub servers: Vec<String>,
}

/// What a node has to know of its cluster's network.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeNetwork {
    /// The node's own pods, `10.42.3.0/24`.
    pub pod_range: String,
    /// All pods of the cluster, `10.42.0.0/16`.
    pub cluster_range: String,
    /// Addresses of Services, `10.43.0.0/16`.
    pub service_range: String,
    /// Where pods ask for names, `10.43.0.10`.
    pub dns: String,
    /// `cluster.local`.
    pub domain: String,
    /// What nodes of the cluster know each other's datagrams by.
    pub secret: [u8; 32],
}

/// Without the secret, so that it never reaches a log.
impl fmt::Debug for NodeNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pod_range, cluster_range, service_range, dns, domain, .. } = self;
        f.debug_struct("NodeNetwork")
            .field("pod_range", pod_range)
            .field("cluster_range", cluster_range)
            .field("service_range", service_range)
            .field("dns", dns)
            .field("domain", domain)
            .finish_non_exhaustive()
    }
}

/// One object of the desired state. A node's own pods and what they name: `pods`, `configmaps`, `secrets`,
/// `serviceaccounts`. What every node has: `services`, `endpointslices`, `networkpolicies`, `namespaces`, and in short
/// forms `nodes` and, where there are policies, `peers` (the cluster's pods with their labels and addresses).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
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
        #[serde(with = "control_api::raw")]
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

/// Without the objects, which may be Secrets.
impl fmt::Debug for Sync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reset { epoch } => write!(f, "Reset {{ epoch: {epoch} }}"),
            Self::Put { resource, namespace, name, revision, json } => {
                write!(f, "Put {{ {resource} {namespace}/{name} at {revision}, {} bytes }}", json.len())
            }
            Self::Delete { resource, namespace, name, revision } => {
                write!(f, "Delete {{ {resource} {namespace}/{name} at {revision} }}")
            }
            Self::Synced { revision, epoch } => write!(f, "Synced {{ revision: {revision}, epoch: {epoch} }}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// Every 10 s; never written to disk.
    Heartbeat { time_ms: i64 },
    /// The Node's `status`, as JSON, when it changed.
    NodeStatus {
        #[serde(with = "control_api::raw")]
        json: Vec<u8>,
    },
    /// A pod's `status`, as JSON. Re-sent for every pod after a reconnect.
    PodStatus {
        namespace: String,
        name: String,
        uid: String,
        #[serde(with = "control_api::raw")]
        json: Vec<u8>,
    },
    /// All of the pod is gone from the node: the server removes the object if its deletion was asked for.
    PodGone { namespace: String, name: String, uid: String },
    /// A core/v1 Event, as JSON without metadata.name.
    Event {
        #[serde(with = "control_api::raw")]
        json: Vec<u8>,
    },
    /// The data of a PersistentVolume that is being deleted is gone from the node.
    VolumeGone { name: String, uid: String },
    /// A pod that the node runs by a manifest of its own, as JSON: the API is to show it under this uid. Told again
    /// after a reconnect.
    Mirror {
        uid: String,
        #[serde(with = "control_api::raw")]
        json: Vec<u8>,
    },
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
    /// Answered by a `PlatformsAnswer`.
    Platforms(PlatformsRequest),
    /// As `Exec`.
    Attach(AttachRequest),
    /// Answered by one `ForwardAnswer`; after `Connected` the stream carries the connection's own bytes both ways.
    Forward(ForwardRequest),
    /// Answered by one `UsageAnswer`.
    Usage(UsageRequest),
}

/// A `NodeUsage` as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageAnswer {
    #[serde(with = "control_api::raw")]
    pub json: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForwardAnswer {
    Connected,
    Failed { message: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogOutput {
    Data(#[serde(with = "control_api::raw")] Vec<u8>),
    End,
    Failed {
        message: String,
    },
    /// The log was found; sent before the first line, which may be long in coming.
    Started,
}

/// So that a reader of this file sees every frame of an exec stream.
pub type ExecFrames = (ExecInput, ExecOutput);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_for_a_log_holds_no_secret() {
        let (word, bytes) = ("geheim".to_owned(), [47; 32]);
        let token_secret = word.clone();
        let request = JoinRequest {
            protocol: PROTOCOL,
            cluster: String::new(),
            token_id: String::new(),
            token_secret,
            node_name: String::new(),
            csr: Vec::new(),
        };
        let [pod_range, cluster_range, service_range, dns, domain] = [const { String::new() }; 5];
        let network = NodeNetwork { pod_range, cluster_range, service_range, dns, domain, secret: bytes };
        let [resource, namespace, name] = [const { String::new() }; 3];
        let put = Sync::Put { resource, namespace, name, revision: 1, json: bytes.to_vec() };
        let token = TokenAnswer::Issued { token: word.clone(), seconds: 1 };
        let printed = format!("{:?} {network:?} {put:?} {token:?}", Opening::Join(request));
        assert!(!printed.contains(&word) && !printed.contains("47"), "{printed}");
    }
}
