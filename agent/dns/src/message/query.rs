//! Questions: those that clients send, read; and those for upstreams, written.

use super::{HEADER_BYTES, Malformed, Name, UDP_BYTES_MAX, UDP_BYTES_MIN, class, flag, kind, number, rcode};

/// The EDNS part of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edns {
    /// The largest answer that the client takes by UDP.
    pub udp_bytes: usize,
    /// The client wants signatures.
    pub dnssec: bool,
}

/// A question that can be answered.
#[derive(Debug, Clone)]
pub struct Query {
    pub id: u16,
    pub flags: u16,
    pub name: Name,
    pub kind: u16,
    pub class: u16,
    pub edns: Option<Edns>,
}

/// A message that is no such question.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// Nobody is told: an answer, or less than a header.
    Silent,
    /// The question, where it could be read, is answered with an error.
    Answer { id: u16, flags: u16, rcode: u16, question: Option<Box<Query>> },
}

impl Query {
    pub fn read(message: &[u8]) -> Result<Self, Refusal> {
        let (Ok(id), Ok(flags)) = (number(message, 0), number(message, 2)) else { return Err(Refusal::Silent) };
        if message.len() < HEADER_BYTES || flags & flag::RESPONSE != 0 {
            return Err(Refusal::Silent);
        }
        let refuse = |rcode, question| Err(Refusal::Answer { id, flags, rcode, question });
        if flags & flag::OPCODE != 0 {
            return refuse(rcode::NOT_IMPLEMENTED, None);
        }
        let Ok((mut query, mut place)) = question(message, id, flags) else {
            return refuse(rcode::FORMAT_ERROR, None);
        };
        match edns(message, &mut place) {
            Ok(None) => {}
            Ok(Some((edns, 0))) => query.edns = Some(edns),
            Ok(Some((edns, _))) => {
                query.edns = Some(edns);
                return refuse(rcode::BAD_VERSION, Some(Box::new(query)));
            }
            Err(Malformed) => return refuse(rcode::FORMAT_ERROR, Some(Box::new(query))),
        }
        if query.class != class::IN && query.class != class::ANY || [kind::AXFR, kind::IXFR].contains(&query.kind) {
            return refuse(rcode::REFUSED, Some(Box::new(query)));
        }
        Ok(query)
    }

    /// The largest answer by UDP.
    pub fn udp_bytes_max(&self) -> usize {
        self.edns.map_or(UDP_BYTES_MIN, |edns| edns.udp_bytes.clamp(UDP_BYTES_MIN, UDP_BYTES_MAX))
    }

    /// The question as it is sent to an upstream, with an id of its own.
    pub fn write(&self, id: u16, with_edns: bool) -> Vec<u8> {
        let flags = flag::RECURSION_DESIRED | self.flags & flag::CHECKING_DISABLED;
        let mut message = Vec::with_capacity(HEADER_BYTES + self.name.wire().len() + 16);
        for number in [id, flags, 1, 0, 0, u16::from(with_edns)] {
            message.extend_from_slice(&number.to_be_bytes());
        }
        message.extend_from_slice(self.name.wire());
        message.extend_from_slice(&self.kind.to_be_bytes());
        message.extend_from_slice(&self.class.to_be_bytes());
        if with_edns {
            write_edns(&mut message, 0, self.edns.is_some_and(|edns| edns.dnssec));
        }
        message
    }
}

/// Our own OPT record; `rcode_high` are the bits of the answer's code that the header has no room for.
pub(super) fn write_edns(message: &mut Vec<u8>, rcode_high: u8, dnssec: bool) {
    message.push(0);
    message.extend_from_slice(&kind::OPT.to_be_bytes());
    message.extend_from_slice(&u16::try_from(UDP_BYTES_MAX).unwrap_or(u16::MAX).to_be_bytes());
    message.extend_from_slice(&[rcode_high, 0, if dnssec { 0x80 } else { 0 }, 0, 0, 0]);
}

fn question(message: &[u8], id: u16, flags: u16) -> Result<(Query, usize), Malformed> {
    if number(message, 4)? != 1 {
        return Err(Malformed);
    }
    let (name, place) = Name::read(message, HEADER_BYTES)?;
    let query =
        Query { id, flags, name, kind: number(message, place)?, class: number(message, place + 2)?, edns: None };
    Ok((query, place + 4))
}

/// The OPT record among what follows the question, and its version. There are few records: counts come from the header,
/// and each takes eleven bytes at least.
fn edns(message: &[u8], place: &mut usize) -> Result<Option<(Edns, u8)>, Malformed> {
    let records = u32::from(number(message, 6)?) + u32::from(number(message, 8)?) + u32::from(number(message, 10)?);
    let mut found = None;
    for _ in 0..records {
        let (name, behind) = Name::read(message, *place)?;
        let fixed = message.get(behind..behind + 10).ok_or(Malformed)?;
        let length = usize::from(number(fixed, 8)?);
        *place = behind + 10 + length;
        if *place > message.len() {
            return Err(Malformed);
        }
        if number(fixed, 0)? == kind::OPT {
            if found.is_some() || name.wire().len() != 1 {
                return Err(Malformed);
            }
            let udp_bytes = usize::from(number(fixed, 2)?);
            found = Some((Edns { udp_bytes, dnssec: fixed[6] & 0x80 != 0 }, fixed[5]));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(edns: Option<Edns>) -> Query {
        let name = Name::parse("web.default.svc.cluster.local").expect("a name");
        Query { id: 7, flags: flag::RECURSION_DESIRED, name, kind: kind::A, class: class::IN, edns }
    }

    #[test]
    fn a_query_that_was_written_is_read_back() {
        let sent = query(Some(Edns { udp_bytes: 4096, dnssec: true }));
        let read = Query::read(&sent.write(9, true)).expect("is read");
        assert_eq!((read.id, &read.name, read.kind), (9, &sent.name, kind::A));
        assert_eq!(read.edns, Some(Edns { udp_bytes: UDP_BYTES_MAX, dnssec: true }));
        assert!(Query::read(&sent.write(9, false)).expect("is read").edns.is_none());
    }

    #[test]
    fn what_is_no_question_is_refused_or_not_heard() {
        let code = |message: &[u8]| match Query::read(message) {
            Err(Refusal::Answer { rcode, .. }) => Some(rcode),
            _ => None,
        };
        let good = query(None).write(1, true);
        assert!(matches!(Query::read(&good[..11]), Err(Refusal::Silent)));
        let change = |at: usize, value: u8| {
            let mut message = good.clone();
            message[at] = value;
            message
        };
        assert!(matches!(Query::read(&change(2, 0x80)), Err(Refusal::Silent)));
        assert_eq!(code(&change(2, 0x28)), Some(rcode::NOT_IMPLEMENTED));
        assert_eq!(code(&change(5, 2)), Some(rcode::FORMAT_ERROR));
        assert_eq!(code(&good[..good.len() - 3]), Some(rcode::FORMAT_ERROR));
        assert_eq!(code(&change(good.len() - 5, 1)), Some(rcode::BAD_VERSION));
        assert_eq!(code(&change(11, 2)), Some(rcode::FORMAT_ERROR));
    }
}
