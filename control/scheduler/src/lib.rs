//! Bramble's scheduler.
