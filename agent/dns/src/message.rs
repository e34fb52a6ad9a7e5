//! The wire format of DNS (RFC 1035, 2782, 6891): only what a small resolver needs of it.
//!
//! [`name`] names, [`query`] what clients and we ask, [`record`] resource records, [`answer`] upstreams' answers read,
//! [`writer`] answers written, cut to size.

pub mod answer;
pub mod name;
pub mod query;
pub mod record;
pub mod writer;

pub use answer::Answer;
pub use name::Name;
pub use query::{Edns, Query, Refusal};
pub use record::{Data, Record};
pub use writer::Section;

/// Bytes of the fixed header.
pub const HEADER_BYTES: usize = 12;
/// What every client takes by UDP.
pub const UDP_BYTES_MIN: usize = 512;
/// What we take and send by UDP: it fits every link without fragments.
pub const UDP_BYTES_MAX: usize = 1232;
/// A TCP message's length is two bytes.
pub const TCP_BYTES_MAX: usize = 65_535;

/// Types that mean something to us.
pub mod kind {
    pub const A: u16 = 1;
    pub const NS: u16 = 2;
    pub const CNAME: u16 = 5;
    pub const SOA: u16 = 6;
    pub const PTR: u16 = 12;
    pub const MX: u16 = 15;
    pub const TXT: u16 = 16;
    pub const AAAA: u16 = 28;
    pub const SRV: u16 = 33;
    pub const DNAME: u16 = 39;
    pub const OPT: u16 = 41;
    pub const IXFR: u16 = 251;
    pub const AXFR: u16 = 252;
    pub const ANY: u16 = 255;
}

pub mod class {
    pub const IN: u16 = 1;
    pub const ANY: u16 = 255;
}

pub mod rcode {
    pub const NO_ERROR: u16 = 0;
    pub const FORMAT_ERROR: u16 = 1;
    pub const SERVER_FAILURE: u16 = 2;
    pub const NO_SUCH_NAME: u16 = 3;
    pub const NOT_IMPLEMENTED: u16 = 4;
    pub const REFUSED: u16 = 5;
    pub const BAD_VERSION: u16 = 16;
}

/// Bits of the header's flags.
pub mod flag {
    pub const RESPONSE: u16 = 0x8000;
    pub const OPCODE: u16 = 0x7800;
    pub const AUTHORITATIVE: u16 = 0x0400;
    pub const TRUNCATED: u16 = 0x0200;
    pub const RECURSION_DESIRED: u16 = 0x0100;
    pub const RECURSION_AVAILABLE: u16 = 0x0080;
    pub const AUTHENTIC: u16 = 0x0020;
    pub const CHECKING_DISABLED: u16 = 0x0010;
    pub const RCODE: u16 = 0x000f;
}

/// Bytes that are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a DNS message")]
pub struct Malformed;

/// Two bytes at `at`, in the network's order.
pub(crate) fn number(bytes: &[u8], at: usize) -> Result<u16, Malformed> {
    let two = bytes.get(at..at + 2).ok_or(Malformed)?;
    Ok(u16::from_be_bytes([two[0], two[1]]))
}
