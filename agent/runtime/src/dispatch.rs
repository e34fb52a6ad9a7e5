//! The roles that the agent's binary plays when it is executed again.

/// To be called first in `main`, before any thread exists: when the command line asks for a shim, a worker or a
/// helper, plays that role and never returns.
pub fn dispatch() {}
