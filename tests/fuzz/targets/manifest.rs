//! Image manifests, indexes and configurations.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| agent_oci::fuzzing::documents(data));
