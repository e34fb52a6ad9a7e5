//! What nodes tell each other of load balancer addresses, behind its seal and as a stranger sends it.
#![no_main]

use agent_announce::heartbeat::{ADDRESSES_MAX, Seal, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let seal = Seal::new(&[1; 32]);
    assert_eq!(seal.decode(data), None, "a stranger is believed");
    if let Some(heartbeat) = parse(data) {
        assert!(heartbeat.announces.len() <= ADDRESSES_MAX);
        let told = seal.encode(&heartbeat);
        assert!(seal.decode(&told).is_none_or(|heard| heard == heartbeat));
    }
});
