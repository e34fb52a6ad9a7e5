//! A door for the fuzz target to what is read from netlink.

use crate::{conntrack, notices, query, socket::Answer};

/// Answers as they come in one read, taken for each of the things that answers are.
pub fn answers(bytes: &[u8]) {
    notices::tables(bytes).for_each(drop);
    let mut rest = bytes;
    while Answer::take(&mut rest).is_some() {}
    let _ = conntrack::UdpFlow::read(bytes);
    let _ = query::read(bytes);
}
