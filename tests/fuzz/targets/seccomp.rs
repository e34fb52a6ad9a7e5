//! A seccomp profile of the node's.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        agent_runtime::fuzzing::seccomp_profile(text);
    }
});
