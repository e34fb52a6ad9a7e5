//! The few shapes of DNS messages (RFC 1035) that a search needs. Everything read comes from strangers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::trust;

/// One frame of an Ethernet.
pub const PACKET_BYTES_MAX: usize = 1472;
const HEADER_BYTES: usize = 12;
const QUESTIONS_MAX: u16 = 16;
const RECORDS_MAX: u16 = 64;
const NAME_BYTES_MAX: usize = 255;
const POINTERS_MAX: usize = 8;
const ADDRESSES_MAX: usize = 16;

const SERVICE: [&str; 3] = ["_bramble", "_udp", "local"];
const A: u16 = 1;
const PTR: u16 = 12;
const TXT: u16 = 16;
const AAAA: u16 = 28;
const SRV: u16 = 33;
const ANY: u16 = 255;
const IN: u16 = 1;
/// In a question: an answer to the asker alone is enough (RFC 6762, 5.4); in a record: older ones are void.
const TOP_BIT: u16 = 0x8000;
/// An answer, with authority.
const ANSWER_FLAGS: u16 = 0x8400;
const IS_ANSWER: u16 = 0x8000;
/// At most this for a question of the older kind (RFC 6762, 6.7).
const TTL_SECONDS: u32 = 10;
/// The key of the CA's hash in the TXT record.
const CA_KEY: &str = "ca=";

/// A question for clusters, to be answered under its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    pub id: u16,
    kind: u16,
    class: u16,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    pub ca_hash: [u8; 32],
    pub port: u16,
    pub addresses: Vec<IpAddr>,
}

/// The message that asks for clusters.
pub fn question(id: u16) -> Vec<u8> {
    let mut out = header(id, 0, 1, 0, 0);
    name(&mut out, &SERVICE);
    numbers(&mut out, &[PTR, IN]);
    out
}

/// The question for clusters in a message, if there is one.
pub fn read_question(bytes: &[u8]) -> Option<Question> {
    let mut reader = Reader::new(bytes)?;
    let (id, flags, questions) = (reader.number()?, reader.number()?, reader.number()?);
    reader.at = HEADER_BYTES;
    if flags & IS_ANSWER != 0 || questions > QUESTIONS_MAX {
        return None;
    }
    for _ in 0..questions {
        let asked = reader.name()?;
        let (kind, class) = (reader.number()?, reader.number()?);
        if is_service(&asked) && matches!(kind, PTR | ANY) && class & !TOP_BIT == IN {
            return Some(Question { id, kind, class });
        }
    }
    None
}

/// The message that answers `question`, which is repeated in it.
pub fn answer(question: &Question, announcement: &Announcement) -> Vec<u8> {
    let cluster = trust::cluster(&announcement.ca_hash);
    let host_label = format!("bramble-{cluster}");
    let instance = [cluster.as_str(), SERVICE[0], SERVICE[1], SERVICE[2]];
    let host = [host_label.as_str(), SERVICE[2]];
    let addresses: Vec<&IpAddr> = announcement.addresses.iter().take(ADDRESSES_MAX).collect();
    let further = 2 + u16::try_from(addresses.len()).unwrap_or(0);
    let mut out = header(question.id, ANSWER_FLAGS, 1, 1, further);
    name(&mut out, &SERVICE);
    numbers(&mut out, &[question.kind, question.class & !TOP_BIT]);
    record(&mut out, &SERVICE, PTR, |data| name(data, &instance));
    record(&mut out, &instance, SRV, |data| {
        numbers(data, &[0, 0, announcement.port]);
        name(data, &host);
    });
    record(&mut out, &instance, TXT, |data| {
        let text = format!("{CA_KEY}{}", trust::hex(&announcement.ca_hash));
        data.push(u8::try_from(text.len()).expect("a hash is short"));
        data.extend_from_slice(text.as_bytes());
    });
    for address in addresses {
        match address {
            IpAddr::V4(address) => record(&mut out, &host, A, |data| data.extend_from_slice(&address.octets())),
            IpAddr::V6(address) => record(&mut out, &host, AAAA, |data| data.extend_from_slice(&address.octets())),
        }
    }
    out
}

/// What an answer to the question numbered `id` says; `None` where it is none, or not whole.
pub fn read_answer(bytes: &[u8], id: u16) -> Option<Announcement> {
    let mut reader = Reader::new(bytes)?;
    let head: Vec<u16> = (0..HEADER_BYTES / 2).map_while(|_| reader.number()).collect();
    let &[own, flags, questions, answers, authorities, further] = head.as_slice() else { return None };
    if own != id || flags & IS_ANSWER == 0 || questions > QUESTIONS_MAX {
        return None;
    }
    let records = answers.checked_add(authorities)?.checked_add(further).filter(|count| *count <= RECORDS_MAX)?;
    for _ in 0..questions {
        reader.name()?;
        reader.take(4)?;
    }
    let (mut ca_hash, mut port, mut addresses) = (None, None, Vec::new());
    for _ in 0..records {
        let owner = reader.name()?;
        let kind = reader.number()?;
        reader.take(6)?;
        let length = reader.number()?;
        let data = reader.take(usize::from(length))?;
        let of_service = owner.len() == SERVICE.len() + 1 && is_service(&owner[1..]);
        match kind {
            SRV if of_service => port = Some(u16::from_be_bytes(data.get(4..6)?.try_into().ok()?)),
            TXT if of_service => ca_hash = text(data).or(ca_hash),
            A if addresses.len() < ADDRESSES_MAX => {
                addresses.push(IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?)));
            }
            AAAA if addresses.len() < ADDRESSES_MAX => {
                addresses.push(IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?)));
            }
            _ => {}
        }
    }
    Some(Announcement { ca_hash: ca_hash?, port: port.filter(|port| *port != 0)?, addresses })
}

/// The CA's hash among a TXT record's strings.
fn text(mut data: &[u8]) -> Option<[u8; 32]> {
    while let Some((length, rest)) = data.split_first() {
        let (string, rest) = rest.split_at_checked(usize::from(*length))?;
        let string = std::str::from_utf8(string).unwrap_or_default();
        if let Some(hash) = string.strip_prefix(CA_KEY).and_then(trust::parse_hash) {
            return Some(hash);
        }
        data = rest;
    }
    None
}

fn is_service(labels: &[&[u8]]) -> bool {
    labels.len() == SERVICE.len()
        && labels.iter().zip(SERVICE).all(|(one, other)| one.eq_ignore_ascii_case(other.as_bytes()))
}

fn header(id: u16, flags: u16, questions: u16, answers: u16, further: u16) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    numbers(&mut out, &[id, flags, questions, answers, 0, further]);
    out
}

fn numbers(out: &mut Vec<u8>, numbers: &[u16]) {
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
}

fn name(out: &mut Vec<u8>, labels: &[&str]) {
    for label in labels {
        out.push(u8::try_from(label.len()).expect("labels of ours are short"));
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
}

fn record(out: &mut Vec<u8>, owner: &[&str], kind: u16, data: impl FnOnce(&mut Vec<u8>)) {
    name(out, owner);
    numbers(out, &[kind, IN]);
    out.extend_from_slice(&TTL_SECONDS.to_be_bytes());
    let at = out.len();
    numbers(out, &[0]);
    data(out);
    let length = u16::try_from(out.len() - at - 2).expect("records of ours are short");
    out[at..at + 2].copy_from_slice(&length.to_be_bytes());
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        (bytes.len() >= HEADER_BYTES && bytes.len() <= PACKET_BYTES_MAX).then_some(Self { bytes, at: 0 })
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Labels of a name; pointers lead backwards only, and not often.
    fn name(&mut self) -> Option<Vec<&'a [u8]>> {
        let (mut labels, mut bytes, mut pointers) = (Vec::new(), 0, 0);
        let (mut at, mut end) = (self.at, None);
        loop {
            let length = usize::from(*self.bytes.get(at)?);
            match length {
                0 => break,
                1..=63 => {
                    labels.push(self.bytes.get(at + 1..at + 1 + length)?);
                    bytes += length + 1;
                    at += length + 1;
                }
                192.. => {
                    let target = (length & 0x3f) << 8 | usize::from(*self.bytes.get(at + 1)?);
                    end.get_or_insert(at + 2);
                    pointers += 1;
                    if target >= at || pointers > POINTERS_MAX {
                        return None;
                    }
                    at = target;
                }
                _ => return None,
            }
            if bytes > NAME_BYTES_MAX {
                return None;
            }
        }
        self.at = end.unwrap_or(at + 1);
        Some(labels)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn announcement() -> Announcement {
        let addresses = vec!["192.168.1.4".parse().expect("an address"), "fd00::4".parse().expect("an address")];
        Announcement { ca_hash: [0xab; 32], port: 6443, addresses }
    }

    #[test]
    fn a_cluster_is_found_by_the_answer_to_the_question() {
        let asked = read_question(&question(7)).expect("is a question");
        let bytes = answer(&asked, &announcement());
        assert!(bytes.len() < 512, "{}", bytes.len());
        assert_eq!(read_answer(&bytes, 7), Some(announcement()));
        assert_eq!(read_answer(&bytes, 8), None, "to another's question");
        assert_eq!(read_question(&bytes), None);
        for length in 0..bytes.len() {
            assert_eq!(read_answer(&bytes[..length], 7), None, "cut at {length}");
        }
    }

    #[test]
    fn a_name_that_points_at_itself_or_forward_is_no_name() {
        for pointer in [12_u8, 14, 40] {
            let mut bytes = header(1, 0, 1, 0, 0);
            bytes.extend_from_slice(&[0xc0, pointer, 0, 12, 0, 1]);
            assert_eq!(read_question(&bytes), None);
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..6)) {
            let _ = (read_question(&bytes), read_answer(&bytes, 7));
            bytes = answer(&Question { id: 7, kind: PTR, class: IN }, &announcement());
            for (at, byte) in flips {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            let _ = (read_question(&bytes), read_answer(&bytes, 7));
        }
    }
}
