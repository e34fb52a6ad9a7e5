//! DNS answers from upstreams.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| agent_dns::fuzzing::answer(data));
