//! One entry of the ordered log. It carries its revision and time, so that applying it is deterministic.

use serde::{Deserialize, Serialize};

/// What a command does. `resource` is the group resource: `pods`, `deployments.apps`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    Put {
        resource: String,
        namespace: String,
        name: String,
        json: Vec<u8>,
    },
    Delete {
        resource: String,
        namespace: String,
        name: String,
    },
    /// Revisions up to here may be given out; a start begins after them, so that none is ever given out twice.
    Reserve {
        through: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    pub revision: u64,
    /// Milliseconds since 1970, as the server saw it.
    pub time_ms: i64,
    pub op: Op,
}
