//! nftables messages, written out by hand: the few expressions that the ruleset needs.
//!
//! A batch is one transaction: all of it holds or nothing. Attribute numbers are those of the kernel's
//! `linux/netfilter/nf_tables.h`; all numbers in attributes are big-endian.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::sys::{
    socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket,
        sockopt::{ReceiveTimeout, SndBuf},
    },
    time::TimeVal,
};

use crate::ruleset::{Chain, Expr, Ruleset};

const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const SUBSYSTEM: u16 = 10;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
const NEW_RULE: u16 = SUBSYSTEM << 8 | 6;
const ERROR: u16 = 2;

const REQUEST: u16 = 0x1;
const ACKNOWLEDGE: u16 = 0x4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
const NESTED: u16 = 0x8000;
const FAMILY_IPV4: u8 = 2;

const SEND_BUFFER_BYTES: usize = 1 << 20;
const ANSWER_SECONDS_MAX: i64 = 10;
const ANSWERS_MAX: usize = 10_000;

/// Puts the ruleset in the place of the table of its name.
pub(crate) fn apply(ruleset: &Ruleset) -> io::Result<()> {
    Batch::new().table(NEW_TABLE, &ruleset.table).table(DELETE_TABLE, &ruleset.table).ruleset(ruleset).send()
}

/// Removes a table, which may be absent.
pub(crate) fn remove(table: &str) -> io::Result<()> {
    // Deleting what is absent fails the transaction, so it is made first.
    Batch::new().table(NEW_TABLE, table).table(DELETE_TABLE, table).send()
}

struct Batch {
    bytes: Vec<u8>,
    sequence: u32,
    last: usize,
}

impl Batch {
    fn new() -> Self {
        let mut batch = Self { bytes: Vec::new(), sequence: 0, last: 0 };
        batch.message(BATCH_BEGIN, 0, 0, SUBSYSTEM, |_| {});
        batch
    }

    fn message(&mut self, kind: u16, flags: u16, family: u8, resource: u16, attributes: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.last = start;
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(REQUEST | flags).to_ne_bytes());
        self.bytes.extend_from_slice(&self.sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&[family, 0]);
        self.bytes.extend_from_slice(&resource.to_be_bytes());
        attributes(&mut self.bytes);
        let length = u32::try_from(self.bytes.len() - start).expect("a batch is far below 4 GiB");
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        self.sequence += 1;
    }

    fn table(mut self, kind: u16, name: &str) -> Self {
        let flags = if kind == NEW_TABLE { CREATE } else { 0 };
        self.message(kind, flags, FAMILY_IPV4, 0, |to| text(to, 1, name));
        self
    }

    fn ruleset(mut self, ruleset: &Ruleset) -> Self {
        self = self.table(NEW_TABLE, &ruleset.table);
        for chain in &ruleset.chains {
            self.chain(&ruleset.table, chain);
        }
        self
    }

    fn chain(&mut self, table: &str, chain: &Chain) {
        self.message(NEW_CHAIN, CREATE, FAMILY_IPV4, 0, |to| {
            text(to, 1, table);
            text(to, 3, chain.name);
            nested(to, 4, |to| {
                number(to, 1, chain.hook as u32);
                attribute(to, 2, &chain.priority.to_be_bytes());
            });
            text(to, 7, chain.kind);
        });
        for rule in &chain.rules {
            self.message(NEW_RULE, CREATE | APPEND, FAMILY_IPV4, 0, |to| {
                text(to, 1, table);
                text(to, 2, chain.name);
                nested(to, 4, |to| rule.iter().for_each(|expr| expression(to, expr)));
            });
        }
    }

    fn send(mut self) -> io::Result<()> {
        // The last message alone is acknowledged; a refused one is told in any case.
        let flags = u16::from_ne_bytes([self.bytes[self.last + 6], self.bytes[self.last + 7]]) | ACKNOWLEDGE;
        self.bytes[self.last + 6..self.last + 8].copy_from_slice(&flags.to_ne_bytes());
        let awaited = self.sequence - 1;
        self.message(BATCH_END, 0, 0, SUBSYSTEM, |_| {});
        let socket = open()?;
        send(socket.as_raw_fd(), &self.bytes, MsgFlags::empty())?;
        answer(&socket, awaited)
    }
}

fn open() -> io::Result<OwnedFd> {
    let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter)?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    setsockopt(&fd, SndBuf, &SEND_BUFFER_BYTES)?;
    setsockopt(&fd, ReceiveTimeout, &TimeVal::new(ANSWER_SECONDS_MAX, 0))?;
    Ok(fd)
}

/// Reads until the awaited message is answered; the first refusal counts.
fn answer(socket: &OwnedFd, awaited: u32) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut refusal = None;
    for _ in 0..ANSWERS_MAX {
        let count = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(count) => count,
            // The transaction failed before its last message was looked at.
            Err(nix::errno::Errno::EAGAIN) => return Err(refusal.unwrap_or(io::ErrorKind::TimedOut.into())),
            Err(errno) => return Err(errno.into()),
        };
        let mut rest = &buffer[..count];
        while let Some(answer) = Answer::take(&mut rest) {
            if answer.kind != ERROR {
                continue;
            }
            if answer.code != 0 && refusal.is_none() {
                refusal = Some(io::Error::from_raw_os_error(-answer.code));
            }
            // A refused batch start has no further answer.
            if answer.sequence == awaited || (answer.sequence == 0 && answer.code != 0) {
                return refusal.map_or(Ok(()), Err);
            }
        }
    }
    Err(refusal.unwrap_or_else(|| io::Error::other("too many answers")))
}

struct Answer {
    kind: u16,
    sequence: u32,
    code: i32,
}

impl Answer {
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let word = |at: usize| -> Option<[u8; 4]> { bytes.get(at..at + 4)?.try_into().ok() };
        let length = usize::try_from(u32::from_ne_bytes(word(0)?)).ok()?;
        let kind = u16::from_ne_bytes([*bytes.get(4)?, *bytes.get(5)?]);
        let answer =
            Self { kind, sequence: u32::from_ne_bytes(word(8)?), code: word(16).map_or(0, i32::from_ne_bytes) };
        if length < 16 {
            return None;
        }
        *bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(answer)
    }
}

fn attribute(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).expect("an attribute is below 64 KiB");
    to.extend_from_slice(&length.to_ne_bytes());
    to.extend_from_slice(&kind.to_ne_bytes());
    to.extend_from_slice(value);
    to.resize(to.len().next_multiple_of(4), 0);
}

fn text(to: &mut Vec<u8>, kind: u16, value: &str) {
    attribute(to, kind, &[value.as_bytes(), &[0]].concat());
}

fn number(to: &mut Vec<u8>, kind: u16, value: u32) {
    attribute(to, kind, &value.to_be_bytes());
}

fn nested(to: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = to.len();
    to.extend_from_slice(&[0; 2]);
    to.extend_from_slice(&(kind | NESTED).to_ne_bytes());
    fill(to);
    let length = u16::try_from(to.len() - start).expect("an attribute is below 64 KiB");
    to[start..start + 2].copy_from_slice(&length.to_ne_bytes());
}

fn expression(to: &mut Vec<u8>, expr: &Expr) {
    nested(to, 1, |to| {
        text(to, 1, expr.name());
        nested(to, 2, |to| match expr {
            Expr::Meta { key, register } => {
                number(to, 1, *register);
                number(to, 2, *key as u32);
            }
            Expr::Payload { base, offset, length, register } => {
                number(to, 1, *register);
                number(to, 2, *base as u32);
                number(to, 3, *offset);
                number(to, 4, *length);
            }
            Expr::AddressType { register } => {
                number(to, 1, *register);
                // The type of the destination's address.
                number(to, 2, 3);
                number(to, 3, 2);
            }
            Expr::Mask { register, mask } => {
                number(to, 1, *register);
                number(to, 2, *register);
                number(to, 3, 4);
                nested(to, 4, |to| attribute(to, 1, mask));
                nested(to, 5, |to| attribute(to, 1, &[0; 4]));
            }
            Expr::Compare { register, equal, value } => {
                number(to, 1, *register);
                number(to, 2, u32::from(!*equal));
                nested(to, 3, |to| attribute(to, 1, value));
            }
            Expr::Load { register, value } => {
                number(to, 1, *register);
                nested(to, 2, |to| attribute(to, 1, value));
            }
            Expr::Drop => {
                number(to, 1, 0);
                nested(to, 2, |to| nested(to, 2, |to| number(to, 1, 0)));
            }
            Expr::DestinationNat { address, port } => {
                number(to, 1, 1);
                number(to, 2, u32::from(FAMILY_IPV4));
                number(to, 3, *address);
                number(to, 5, *port);
            }
            Expr::Masquerade => {}
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_padded_but_its_length_is_not() {
        let mut bytes = Vec::new();
        text(&mut bytes, 1, "ab");
        assert_eq!(bytes, [7u16.to_ne_bytes(), 1u16.to_ne_bytes(), [b'a', b'b'], [0, 0]].concat());
    }

    #[test]
    fn a_cut_answer_ends_the_reading() {
        for length in 0..20 {
            let mut rest = &vec![0xff; length][..];
            while Answer::take(&mut rest).is_some() {}
        }
    }
}
