use std::net::Ipv4Addr;

use crate::{
    attribute::{Attributes, attribute, nested},
    batch::{FAMILY_IPV4, message},
    error::Error,
    socket::Socket,
};

const CONNTRACK: u16 = 1 << 8;
const NEW: u16 = CONNTRACK;
const GET: u16 = CONNTRACK | 1;
const DELETE: u16 = CONNTRACK | 2;
const DUMP: u16 = 0x300;
const ACKNOWLEDGE: u16 = 0x4;

const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const STATUS: u16 = 3;
const SEEN_REPLY: u32 = 1 << 1;
const ID: u16 = 12;
const FILTER: u16 = 25;
const FILTER_ORIGINAL: u16 = 1;
/// Of the kernel's filter: compare the protocol's number.
const BY_PROTOCOL: u32 = 1 << 3;
const UDP: u8 = 17;

/// One way of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple {
    pub source: (Ipv4Addr, u16),
    pub destination: (Ipv4Addr, u16),
}

/// What the kernel remembers of packets of UDP between two ends. The source of the replies is where the packets
/// really go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpFlow {
    pub original: Tuple,
    pub reply: Tuple,
    /// Somebody has answered.
    pub replied: bool,
    id: Option<[u8; 4]>,
}

impl Socket {
    /// All flows of UDP by IPv4.
    pub fn udp_flows(&mut self) -> Result<Vec<UdpFlow>, Error> {
        let mut request = Vec::new();
        message(&mut request, GET, DUMP, 1, (FAMILY_IPV4, 0), |to| {
            nested(to, TUPLE_ORIGINAL, |to| nested(to, 2, |to| attribute(to, 1, &[UDP])));
            nested(to, FILTER, |to| attribute(to, FILTER_ORIGINAL, &BY_PROTOCOL.to_ne_bytes()));
        });
        let mut flows = Vec::new();
        self.ask("list connections", &request, |kind, attributes| {
            if kind == NEW {
                flows.extend(UdpFlow::read(attributes));
            }
        })?;
        Ok(flows)
    }

    /// Makes the kernel forget the flow: its next packet is translated anew. Ok where it is forgotten already.
    pub fn forget(&mut self, flow: &UdpFlow) -> Result<(), Error> {
        let mut request = Vec::new();
        message(&mut request, DELETE, ACKNOWLEDGE, 1, (FAMILY_IPV4, 0), |to| {
            nested(to, TUPLE_ORIGINAL, |to| flow.original.write(to));
            if let Some(id) = flow.id {
                attribute(to, ID, &id);
            }
        });
        match self.ask("forget a connection", &request, |_, _| {}) {
            Err(error) if error.is_absent() => Ok(()),
            result => result,
        }
    }
}

impl UdpFlow {
    pub(crate) fn read(attributes: &[u8]) -> Option<Self> {
        let (original, reply) = (Tuple::read(attributes, TUPLE_ORIGINAL)?, Tuple::read(attributes, TUPLE_REPLY)?);
        let id = Attributes::find(attributes, ID).and_then(|id| id.try_into().ok());
        let status = Attributes::find(attributes, STATUS)?.try_into().map(u32::from_be_bytes).ok()?;
        Some(Self { original, reply, replied: status & SEEN_REPLY != 0, id })
    }
}

impl Tuple {
    fn read(attributes: &[u8], which: u16) -> Option<Self> {
        let tuple = Attributes::find(attributes, which)?;
        if Attributes::at(tuple, &[2, 1])? != [UDP] {
            return None;
        }
        let address = |kind| Some(Ipv4Addr::from(<[u8; 4]>::try_from(Attributes::at(tuple, &[1, kind])?).ok()?));
        let port = |kind| Some(u16::from_be_bytes(Attributes::at(tuple, &[2, kind])?.try_into().ok()?));
        Some(Self { source: (address(1)?, port(2)?), destination: (address(2)?, port(3)?) })
    }

    fn write(&self, to: &mut Vec<u8>) {
        nested(to, 1, |to| {
            attribute(to, 1, &self.source.0.octets());
            attribute(to, 2, &self.destination.0.octets());
        });
        nested(to, 2, |to| {
            attribute(to, 1, &[UDP]);
            attribute(to, 2, &self.source.1.to_be_bytes());
            attribute(to, 3, &self.destination.1.to_be_bytes());
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tuple_is_read_as_it_was_written() {
        let tuple = Tuple { source: (Ipv4Addr::LOCALHOST, 40_000), destination: (Ipv4Addr::new(10, 43, 0, 7), 53) };
        let mut bytes = Vec::new();
        nested(&mut bytes, TUPLE_REPLY, |to| tuple.write(to));
        assert_eq!(Tuple::read(&bytes, TUPLE_REPLY), Some(tuple));
        assert_eq!(Tuple::read(&bytes, TUPLE_ORIGINAL), None);
        for length in 0..bytes.len() {
            assert_eq!(Tuple::read(&bytes[..length], TUPLE_REPLY), None);
        }
    }
}
