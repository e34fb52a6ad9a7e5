//! What comes over a shim's socket.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| agent_runtime::fuzzing::shim_frame(data));
