//! The pod state machine of Bramble's node agent.
