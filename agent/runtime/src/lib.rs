//! Shim, sandboxes and containers of Bramble's node agent.
