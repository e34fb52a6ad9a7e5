//! Resource records.

use std::net::Ipv4Addr;

use super::{Malformed, Name, class, kind, number};

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    Raw(Box<[u8]>),
    /// Types whose names may be compressed: fixed bytes, names, fixed bytes.
    Named {
        before: Box<[u8]>,
        names: Box<[Name]>,
        after: Box<[u8]>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub name: Name,
    pub kind: u16,
    pub class: u16,
    pub ttl_seconds: u32,
    pub data: Data,
}

/// Bytes before, names, bytes after: of the types that RFC 1035 lets compress, and those that real servers do.
fn shape(kind: u16) -> Option<(usize, usize, usize)> {
    match kind {
        kind::NS | kind::CNAME | kind::PTR | kind::DNAME => Some((0, 1, 0)),
        kind::SOA => Some((0, 2, 20)),
        kind::MX => Some((2, 1, 0)),
        kind::SRV => Some((6, 1, 0)),
        _ => None,
    }
}

impl Record {
    fn new(name: &Name, kind: u16, ttl_seconds: u32, data: Data) -> Self {
        Self { name: name.clone(), kind, class: class::IN, ttl_seconds, data }
    }

    pub fn address(name: &Name, ttl_seconds: u32, address: Ipv4Addr) -> Self {
        Self::new(name, kind::A, ttl_seconds, Data::Raw(address.octets().into()))
    }

    /// A CNAME, PTR or NS.
    pub fn pointer(name: &Name, kind: u16, ttl_seconds: u32, target: Name) -> Self {
        let data = Data::Named { before: Box::default(), names: [target].into(), after: Box::default() };
        Self::new(name, kind, ttl_seconds, data)
    }

    pub fn text(name: &Name, ttl_seconds: u32, text: &str) -> Self {
        let mut data = vec![u8::try_from(text.len()).unwrap_or(u8::MAX)];
        data.extend(text.bytes().take(usize::from(u8::MAX)));
        Self::new(name, kind::TXT, ttl_seconds, Data::Raw(data.into()))
    }

    pub fn service(name: &Name, ttl_seconds: u32, weight: u16, port: u16, target: Name) -> Self {
        let numbers = [0, weight, port];
        let before: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        let data = Data::Named { before: before.into(), names: [target].into(), after: Box::default() };
        Self::new(name, kind::SRV, ttl_seconds, data)
    }

    /// Refresh, retry and expiry are for secondaries, which we do not have; `ttl_seconds` is also for what is not there.
    pub fn authority(name: &Name, ttl_seconds: u32, server: Name, mailbox: Name, serial: u32) -> Self {
        let numbers = [serial, 7200, 1800, 86400, ttl_seconds];
        let after: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        let data = Data::Named { before: Box::default(), names: [server, mailbox].into(), after: after.into() };
        Self::new(name, kind::SOA, ttl_seconds, data)
    }

    /// How long a SOA lets one remember that something is not there.
    pub fn negative_ttl_seconds(&self) -> Option<u32> {
        let Data::Named { after, .. } = &self.data else { return None };
        let last: [u8; 4] = after.get(16..20)?.try_into().ok()?;
        (self.kind == kind::SOA).then(|| u32::from_be_bytes(last).min(self.ttl_seconds))
    }

    /// Reads the record at `at`, and gives the place behind it.
    pub fn read(message: &[u8], at: usize) -> Result<(Self, usize), Malformed> {
        let (name, place) = Name::read(message, at)?;
        let fixed = message.get(place..place + 10).ok_or(Malformed)?;
        let (kind, class, length) = (number(fixed, 0)?, number(fixed, 2)?, usize::from(number(fixed, 8)?));
        let ttl_seconds = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
        let start = place + 10;
        let end = start + length;
        let bytes = message.get(start..end).ok_or(Malformed)?;
        let data = match shape(kind) {
            None => Data::Raw(bytes.into()),
            Some(shape) => named(message, start, end, shape)?,
        };
        // The highest bit is to be taken as zero seconds (RFC 2181, 8).
        let ttl_seconds = if ttl_seconds > i32::MAX as u32 { 0 } else { ttl_seconds };
        Ok((Self { name, kind, class, ttl_seconds, data }, end))
    }
}

fn named(
    message: &[u8],
    start: usize,
    end: usize,
    (before, count, after): (usize, usize, usize),
) -> Result<Data, Malformed> {
    let mut place = start + before;
    let before = message.get(start..place).ok_or(Malformed)?;
    let mut names = Vec::with_capacity(count);
    for _ in 0..count {
        let (name, behind) = Name::read(message, place)?;
        names.push(name);
        place = behind;
    }
    if place + after != end {
        return Err(Malformed);
    }
    Ok(Data::Named { before: before.into(), names: names.into(), after: message[place..end].into() })
}
