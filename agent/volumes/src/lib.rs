//! Volumes of Bramble's node agent.
