//! A number that tells whether a table's rules are still those that were applied.
//!
//! The kernel gives every rule a handle of its own, so a table that was flushed, deleted or made anew by
//! somebody else has another number.

use std::{
    hash::{DefaultHasher, Hasher},
    io,
    os::fd::AsRawFd,
};

use nix::sys::{
    socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket,
        sockopt::ReceiveTimeout,
    },
    time::{TimeVal, TimeValLike},
};

const GET_RULE: u16 = 10 << 8 | 7;
const NEW_RULE: u16 = 10 << 8 | 6;
const DONE: u16 = 3;
const ERROR: u16 = 2;
const REQUEST_AND_DUMP: u16 = 0x1 | 0x300;
const FAMILY_IPV4: u8 = 2;
const RULE_TABLE: u16 = 1;
const HEADER_BYTES: usize = 16;
const ANSWER_SECONDS_MAX: i64 = 10;
const ANSWERS_MAX: usize = 100_000;

/// Of the rules of a table in the thread's namespace; 0 where there are none.
pub(crate) fn take(table: &str) -> io::Result<u64> {
    let (mut hasher, mut rules) = (DefaultHasher::new(), 0u64);
    let mut attribute = u16::try_from(table.len() + 5).expect("a table's name is short").to_ne_bytes().to_vec();
    attribute.extend_from_slice(&RULE_TABLE.to_ne_bytes());
    attribute.extend_from_slice(table.as_bytes());
    attribute.resize((attribute.len() + 1).next_multiple_of(4), 0);
    dump(GET_RULE, FAMILY_IPV4, &attribute, |kind, body| {
        if kind == NEW_RULE {
            rules += 1;
            hasher.write(body);
        }
    })?;
    Ok(if rules == 0 { 0 } else { hasher.finish() })
}

/// Asks for all of a kind, and hands each answer's kind and body on.
pub(crate) fn dump(kind: u16, family: u8, attributes: &[u8], mut each: impl FnMut(u16, &[u8])) -> io::Result<()> {
    let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter)?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    setsockopt(&fd, ReceiveTimeout, &TimeVal::seconds(ANSWER_SECONDS_MAX))?;
    send(fd.as_raw_fd(), &request(kind, family, attributes), MsgFlags::empty())?;
    let mut buffer = vec![0; 64 << 10];
    for _ in 0..ANSWERS_MAX {
        let count = recv(fd.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let mut rest = &buffer[..count];
        while let Some((kind, body)) = message(&mut rest) {
            match kind {
                DONE => return Ok(()),
                ERROR => return Err(refusal(body)),
                _ => each(kind, body),
            }
        }
    }
    Err(io::Error::other("too many answers"))
}

fn request(kind: u16, family: u8, attributes: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
    bytes[6..8].copy_from_slice(&REQUEST_AND_DUMP.to_ne_bytes());
    bytes.extend_from_slice(&[family, 0, 0, 0]);
    bytes.extend_from_slice(attributes);
    let length = u32::try_from(bytes.len()).expect("a table's name is short");
    bytes[..4].copy_from_slice(&length.to_ne_bytes());
    bytes
}

/// The next message's kind and body; None at the end or where the bytes make no sense.
fn message<'a>(bytes: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    let length = usize::try_from(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?)).ok()?;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(HEADER_BYTES..length)?;
    *bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, body))
}

fn refusal(body: &[u8]) -> io::Error {
    let code = body.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
    io::Error::from_raw_os_error(-code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_answer_ends_the_reading() {
        for length in 0..40 {
            for fill in [0, 1, 0xff] {
                let mut rest = &vec![fill; length][..];
                let mut count = 0;
                while message(&mut rest).is_some() {
                    count += 1;
                    assert!(count < 10, "it goes on for ever");
                }
            }
        }
    }
}
