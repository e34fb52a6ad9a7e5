//! Answers, written into at most so many bytes.

use super::query::write_edns;
use super::{Data, HEADER_BYTES, Name, Query, Record, flag, kind};

/// Where a record goes; sections are written in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    Answer,
    Authority,
    Additional,
}

/// Bytes of our OPT record.
const EDNS_BYTES: usize = 11;
/// A pointer has 14 bits.
const POINTER_MAX: usize = 0x3fff;
/// Names that later ones may point to; a list of thousands would make a large answer slow.
const TARGETS_MAX: usize = 64;

pub struct Writer {
    message: Vec<u8>,
    bytes_max: usize,
    /// Where a suffix of a name stands in full.
    targets: Vec<usize>,
    counts: [u16; 3],
    flags: u16,
    edns: Option<(u8, bool)>,
}

impl Writer {
    /// The header's flags, with `rcode` in them, and the question as it was asked, so that its case comes back.
    pub fn new(query: &Query, flags: u16, rcode: u16, bytes_max: usize) -> Self {
        let kept = query.flags & (flag::RECURSION_DESIRED | flag::CHECKING_DISABLED);
        let flags = flag::RESPONSE | flag::RECURSION_AVAILABLE | kept | flags | rcode & flag::RCODE;
        let mut message = Vec::with_capacity(256);
        for number in [query.id, 0, 1, 0, 0, 0] {
            message.extend_from_slice(&number.to_be_bytes());
        }
        let high = u8::try_from(rcode >> 4).unwrap_or(0);
        let edns = query.edns.map(|edns| (high, edns.dnssec));
        let mut writer = Self {
            message,
            bytes_max: bytes_max - if edns.is_some() { EDNS_BYTES } else { 0 },
            targets: Vec::new(),
            counts: [0; 3],
            flags,
            edns,
        };
        writer.name(&query.name);
        writer.message.extend_from_slice(&query.kind.to_be_bytes());
        writer.message.extend_from_slice(&query.class.to_be_bytes());
        writer
    }

    /// False where there is no room for it: then nothing of it is written, and the message is marked as cut if it matters.
    pub fn push(&mut self, section: Section, record: &Record, ttl_seconds: u32) -> bool {
        let (before, targets) = (self.message.len(), self.targets.len());
        self.name(&record.name);
        self.message.extend_from_slice(&record.kind.to_be_bytes());
        self.message.extend_from_slice(&record.class.to_be_bytes());
        self.message.extend_from_slice(&ttl_seconds.to_be_bytes());
        let length_at = self.message.len();
        self.message.extend_from_slice(&[0, 0]);
        match &record.data {
            Data::Raw(bytes) => self.message.extend_from_slice(bytes),
            Data::Named { before, names, after } => {
                self.message.extend_from_slice(before);
                for name in names {
                    // Only the types of RFC 1035 may be compressed by who writes (RFC 3597, 4).
                    if matches!(record.kind, kind::SRV | kind::DNAME) {
                        self.message.extend_from_slice(name.wire());
                    } else {
                        self.name(name);
                    }
                }
                self.message.extend_from_slice(after);
            }
        }
        let count = &mut self.counts[section as usize];
        let length = u16::try_from(self.message.len() - length_at - 2);
        let (Ok(length), true, Some(more)) = (length, self.message.len() <= self.bytes_max, count.checked_add(1))
        else {
            self.message.truncate(before);
            self.targets.truncate(targets);
            // What comes beside an answer is left out without a word (RFC 2181, 9): the client has what it asked for.
            if section == Section::Answer || (section == Section::Authority && self.counts[0] == 0) {
                self.flags |= flag::TRUNCATED;
            }
            return false;
        };
        *count = more;
        self.message[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
        true
    }

    pub fn finish(mut self) -> Vec<u8> {
        let [answers, authorities, mut additionals] = self.counts;
        if let Some((high, dnssec)) = self.edns {
            write_edns(&mut self.message, high, dnssec);
            additionals += 1;
        }
        self.message[2..4].copy_from_slice(&self.flags.to_be_bytes());
        for (at, count) in [(6, answers), (8, authorities), (10, additionals)] {
            self.message[at..at + 2].copy_from_slice(&count.to_be_bytes());
        }
        self.message
    }

    /// Writes as many labels as needed, then a pointer to a suffix that stands already.
    fn name(&mut self, name: &Name) {
        let wire = name.wire();
        let mut at = 0;
        while wire[at] != 0 {
            if let Some(target) = self.targets.iter().find(|target| self.stands(**target, &wire[at..])) {
                let pointer = 0xc000 | u16::try_from(*target).unwrap_or(0);
                self.message.extend_from_slice(&pointer.to_be_bytes());
                return;
            }
            if self.message.len() <= POINTER_MAX && self.targets.len() < TARGETS_MAX {
                self.targets.push(self.message.len());
            }
            let label = usize::from(wire[at]) + 1;
            self.message.extend_from_slice(&wire[at..at + label]);
            at += label;
        }
        self.message.push(0);
    }

    /// Whether the name at `place`, pointers followed, is `suffix`.
    fn stands(&self, mut place: usize, mut suffix: &[u8]) -> bool {
        loop {
            let Some(&length) = self.message.get(place) else { return false };
            if length >= 0xc0 {
                let low = self.message.get(place + 1).copied().unwrap_or(0);
                place = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                continue;
            }
            let label = usize::from(length) + 1;
            let same = self.message.get(place..place + label).zip(suffix.get(..label));
            if !same.is_some_and(|(one, other)| one.eq_ignore_ascii_case(other)) {
                return false;
            }
            if length == 0 {
                return true;
            }
            place += label;
            suffix = &suffix[label..];
        }
    }
}

/// An error about a message whose question could not be read.
pub fn bare(id: u16, flags: u16, rcode: u16) -> Vec<u8> {
    let kept = flags & (flag::OPCODE | flag::RECURSION_DESIRED);
    let flags = flag::RESPONSE | flag::RECURSION_AVAILABLE | kept | rcode & flag::RCODE;
    let mut message = Vec::with_capacity(HEADER_BYTES);
    for number in [id, flags, 0, 0, 0, 0] {
        message.extend_from_slice(&number.to_be_bytes());
    }
    message
}
