//! Bramble's command line.
