//! ARP over Ethernet for IPv4 (RFC 826), as whole frames. Pure.
//!
//! ```text
//! 0 destination 6 | 6 source 6 | 12 0x0806 | 14 hardware 1 | 16 protocol 0x0800 | 18 6 | 19 4 | 20 operation
//! 22 sender MAC 6 | 28 sender IP 4 | 32 target MAC 6 | 38 target IP 4
//! ```

use std::net::Ipv4Addr;

pub type Mac = [u8; 6];

pub const ETHERTYPE: u16 = 0x0806;
pub const FRAME_BYTES: usize = 42;
const BROADCAST: Mac = [0xff; 6];
const HEADER: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: u16 = 1;
const REPLY: u16 = 2;

/// Somebody asks who has `target`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    pub sender_mac: Mac,
    pub sender: Ipv4Addr,
    pub target: Ipv4Addr,
}

/// A request in a frame as it came; `None` for anything else.
pub fn parse(frame: &[u8]) -> Option<Request> {
    let frame: &[u8; FRAME_BYTES] = frame.first_chunk()?;
    let operation = u16::from_be_bytes([frame[20], frame[21]]);
    if u16::from_be_bytes([frame[12], frame[13]]) != ETHERTYPE || frame[14..20] != HEADER || operation != REQUEST {
        return None;
    }
    let ip = |at: usize| Ipv4Addr::new(frame[at], frame[at + 1], frame[at + 2], frame[at + 3]);
    let sender_mac = frame[22..28].try_into().expect("a MAC has six bytes");
    Some(Request { sender_mac, sender: ip(28), target: ip(38) })
}

/// The answer to `request`: its target is at `mac`.
pub fn reply(request: &Request, mac: Mac) -> [u8; FRAME_BYTES] {
    frame(request.sender_mac, mac, REPLY, request.target, request.sender_mac, request.sender)
}

/// To everybody: `address` is at `mac` from now on. As a request and as a reply, since listeners differ in which they
/// believe (RFC 5227 section 3).
pub fn gratuitous(address: Ipv4Addr, mac: Mac) -> [[u8; FRAME_BYTES]; 2] {
    [
        frame(BROADCAST, mac, REQUEST, address, [0; 6], address),
        frame(BROADCAST, mac, REPLY, address, BROADCAST, address),
    ]
}

fn frame(to: Mac, mac: Mac, operation: u16, sender: Ipv4Addr, target_mac: Mac, target: Ipv4Addr) -> [u8; FRAME_BYTES] {
    let mut frame = [0; FRAME_BYTES];
    frame[0..6].copy_from_slice(&to);
    frame[6..12].copy_from_slice(&mac);
    frame[12..14].copy_from_slice(&ETHERTYPE.to_be_bytes());
    frame[14..20].copy_from_slice(&HEADER);
    frame[20..22].copy_from_slice(&operation.to_be_bytes());
    frame[22..28].copy_from_slice(&mac);
    frame[28..32].copy_from_slice(&sender.octets());
    frame[32..38].copy_from_slice(&target_mac);
    frame[38..42].copy_from_slice(&target.octets());
    frame
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_is_answered_to_who_asked() {
        let asked = frame(BROADCAST, [2; 6], REQUEST, [10, 0, 0, 2].into(), [0; 6], [10, 0, 0, 9].into());
        let request = parse(&asked).unwrap();
        assert_eq!((request.sender, request.target), ([10, 0, 0, 2].into(), [10, 0, 0, 9].into()));
        let answer = reply(&request, [7; 6]);
        assert_eq!((&answer[0..6], &answer[22..28], &answer[28..32]), (&[2; 6][..], &[7; 6][..], &[10, 0, 0, 9][..]));
        assert_eq!(parse(&answer), None, "a reply is no request");
    }

    proptest! {
        #[test]
        fn any_frame_is_read_without_a_panic(frame in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&frame);
        }
    }
}
