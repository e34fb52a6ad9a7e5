//! Logs and exec streams of Bramble's node agent.
