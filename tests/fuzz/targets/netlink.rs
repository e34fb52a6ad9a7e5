//! What the kernel answers over netlink.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| agent_nft::fuzzing::answers(data));
