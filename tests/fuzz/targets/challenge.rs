//! What a registry answers to a request without a login.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| agent_oci::fuzzing::challenge(text));
