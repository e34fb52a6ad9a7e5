//! Bramble's controllers.
