//! Containers' logs as the API serves them, and connections to pods' ports.
//!
//! Called by the agent's binary for each stream that the server opens and for `bramble-agent logs`. In reading
//! order: [`line`] one line of a CRI log, [`files`] the files of one container, newest last, [`reader`] a request
//! answered from them, [`follow`] waiting for more without asking again and again; beside them [`forward`].
//!
//! Absent on purpose: exec and attach, whose bytes go between the wire and the shim without a stop here.

pub mod files;
pub mod follow;
pub mod forward;
pub mod line;
pub mod reader;

pub use follow::Alive;
pub use forward::ForwardError;
pub use reader::{LogError, LogReader};
