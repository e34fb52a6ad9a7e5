//! Bramble's cluster CA, certificates and tokens.
