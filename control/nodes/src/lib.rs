//! The server's side of every node's session.
