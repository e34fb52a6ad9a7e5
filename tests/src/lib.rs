//! Bramble's cluster tests and their harness.
