//! What nodes tell each other: that they live, and which addresses they announce. Authenticated by a secret that every
//! node of the cluster has, so that a stranger on the LAN cannot keep a dead node alive.
//!
//! ```text
//! 32 bytes HMAC-SHA256 of the rest | postcard of Heartbeat
//! ```

use std::net::Ipv4Addr;

use ring::hmac;
use serde::{Deserialize, Serialize};

pub const HEARTBEAT_BYTES_MAX: usize = 1400;
/// Addresses that one node announces; more stay with the others.
pub const ADDRESSES_MAX: usize = 200;
const TAG_BYTES: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    pub node: String,
    /// Another at each start of the node's agent.
    pub session: u64,
    /// Counts up within the session: an older one is a replay.
    pub sequence: u64,
    /// In ascending order.
    pub announces: Vec<Ipv4Addr>,
}

/// Signs and reads heartbeats.
pub struct Seal(hmac::Key);

impl Seal {
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    pub fn encode(&self, heartbeat: &Heartbeat) -> Vec<u8> {
        let body = postcard::to_stdvec(heartbeat).unwrap_or_default();
        let mut bytes = hmac::sign(&self.0, &body).as_ref().to_vec();
        bytes.extend(body);
        bytes
    }

    /// `None` for what is not of this cluster, or damaged.
    pub fn decode(&self, bytes: &[u8]) -> Option<Heartbeat> {
        if bytes.len() > HEARTBEAT_BYTES_MAX {
            return None;
        }
        let (tag, body) = bytes.split_at_checked(TAG_BYTES)?;
        hmac::verify(&self.0, body, tag).ok()?;
        parse(body)
    }
}

/// The part behind the seal.
pub fn parse(body: &[u8]) -> Option<Heartbeat> {
    let (heartbeat, rest) = postcard::take_from_bytes::<Heartbeat>(body).ok()?;
    (rest.is_empty() && heartbeat.announces.len() <= ADDRESSES_MAX).then_some(heartbeat)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn heartbeat() -> Heartbeat {
        let announces = (0..ADDRESSES_MAX).map(|n| Ipv4Addr::new(192, 168, 1, u8::try_from(n).unwrap())).collect();
        Heartbeat { node: "n".repeat(253), session: u64::MAX, sequence: u64::MAX, announces }
    }

    #[test]
    fn only_the_clusters_nodes_are_heard() {
        let (ours, theirs) = (Seal::new(&[1; 32]), Seal::new(&[2; 32]));
        let bytes = ours.encode(&heartbeat());
        assert!(bytes.len() <= HEARTBEAT_BYTES_MAX, "{} bytes", bytes.len());
        assert_eq!(ours.decode(&bytes), Some(heartbeat()));
        assert_eq!(theirs.decode(&bytes), None);
        let mut changed = bytes.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(ours.decode(&changed), None);
    }

    proptest! {
        #[test]
        fn any_datagram_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
            let _ = Seal::new(&[1; 32]).decode(&bytes);
        }
    }
}
