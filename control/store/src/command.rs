//! One entry of the ordered log. It carries its revision and time, so that applying it is deterministic.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What a command does. `resource` is the group resource: `pods`, `deployments.apps`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    Put {
        resource: String,
        namespace: String,
        name: String,
        #[serde(with = "raw")]
        json: Bytes,
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

/// Bytes as one piece: serde's own way would visit them one by one. The bytes in the log are the same.
mod raw {
    use std::fmt;

    use bytes::Bytes;
    use serde::de::{Deserializer, Visitor};
    use serde::ser::Serializer;

    pub fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        struct Whole;
        impl Visitor<'_> for Whole {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes::copy_from_slice(bytes))
            }
        }
        deserializer.deserialize_bytes(Whole)
    }
}
