//! Image pull, verification and snapshots of Bramble's node agent.
