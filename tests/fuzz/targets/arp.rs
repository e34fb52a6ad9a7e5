//! Frames as a LAN brings them, where this node answers for a load balancer's address.
#![no_main]

use agent_announce::arp::{parse, reply};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(request) = parse(data) {
        let answer = reply(&request, [2; 6]);
        assert_eq!(answer[38..42], request.sender.octets());
        assert_eq!(parse(&answer), None, "a reply is a request");
    }
});
