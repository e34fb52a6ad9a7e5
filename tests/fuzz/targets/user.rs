//! An image's files of users and groups, what the spec asks for of them, and a registry's logins.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str, &str, &[u8])| {
    let (passwd, group, user, config) = input;
    agent_oci::fuzzing::user(passwd, group, user);
    agent_oci::fuzzing::docker_config(config);
});
