//! A node's heartbeat: its Lease with another time, in memory only.
//!
//! Of all writes the most frequent by far, and one that the server makes itself: nobody has to be asked whether it may
//! be, and nothing but the time can be wrong. Watches are told of it as of any other.

use control_api::lease;
use control_api::resource::LEASES;
use control_store::{Change, Key, Precondition, Tier, Write, WriteError};

use crate::api::Api;
use crate::tier::NODE_LEASES;

/// Other writers may be first so often.
const ATTEMPTS_MAX: usize = 3;

/// Whether it was done; where not, the Lease has to be patched like any object.
pub async fn renew(api: &Api, name: &str, time: &str) -> bool {
    for _ in 0..ATTEMPTS_MAX {
        let Some(current) = api.store().get(&Key::new(&LEASES, NODE_LEASES, name)) else { return false };
        let unusual = current.meta.deletion_timestamp.is_some();
        let renewed = lease::renew(&current.json, &current.meta, current.revision, time).filter(|_| !unusual);
        let Some(draft) = renewed else { return false };
        let write = Write {
            key: current.key.clone(),
            tier: Tier::Volatile,
            precondition: Precondition::Revision(current.revision),
            change: Change::Put(draft),
        };
        match api.store().write(write).await {
            Ok(_) => return true,
            Err(WriteError::Changed) => {}
            Err(_) => return false,
        }
    }
    false
}
