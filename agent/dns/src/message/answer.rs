//! An upstream's answer, read as a whole.

use super::{HEADER_BYTES, Malformed, Name, Query, Record, flag, kind, number};

/// Records of one message; each takes eleven bytes at least, so a message has no more than a few thousand anyway.
const RECORDS_MAX: usize = 6000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub rcode: u16,
    pub authentic: bool,
    pub truncated: bool,
    pub answers: Vec<Record>,
    pub authorities: Vec<Record>,
    /// Without OPT, which is between two neighbours only.
    pub additionals: Vec<Record>,
}

impl Answer {
    /// Reads `message`, if it answers `query` that was sent as `id`.
    pub fn read(message: &[u8], query: &Query, id: u16) -> Result<Self, Malformed> {
        let flags = number(message, 2)?;
        if number(message, 0)? != id || flags & flag::RESPONSE == 0 || flags & flag::OPCODE != 0 {
            return Err(Malformed);
        }
        let mut rcode = flags & flag::RCODE;
        let truncated = flags & flag::TRUNCATED != 0;
        let mut read = Self {
            rcode,
            authentic: flags & flag::AUTHENTIC != 0,
            truncated,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
        };
        // Some servers leave the question out of an error.
        let questions = number(message, 4)?;
        if questions == 0 && rcode != 0 {
            return Ok(read);
        }
        let (name, mut place) = Name::read(message, HEADER_BYTES)?;
        let same =
            name == query.name && number(message, place)? == query.kind && number(message, place + 2)? == query.class;
        if questions != 1 || !same {
            return Err(Malformed);
        }
        place += 4;
        // What was cut is asked for again by TCP: it need not be whole.
        if truncated {
            return Ok(read);
        }
        for (at, list) in [(6, &mut read.answers), (8, &mut read.authorities), (10, &mut read.additionals)] {
            let count = usize::from(number(message, at)?);
            if count > RECORDS_MAX {
                return Err(Malformed);
            }
            for _ in 0..count {
                let (record, behind) = Record::read(message, place)?;
                place = behind;
                if record.kind == kind::OPT {
                    rcode |= u16::try_from(record.ttl_seconds >> 24).unwrap_or(0) << 4;
                } else {
                    list.push(record);
                }
            }
        }
        read.rcode = rcode;
        Ok(read)
    }

    /// An answer that only says how it went.
    pub fn of(rcode: u16) -> Self {
        Self {
            rcode,
            authentic: false,
            truncated: false,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
        }
    }

    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.answers.iter().chain(&self.authorities).chain(&self.additionals)
    }
}
