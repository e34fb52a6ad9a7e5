//! Configuration files.
#![no_main]

use std::io::Write;

use libfuzzer_sys::fuzz_target;

#[path = "../../../control/src/config.rs"]
mod server;

#[path = "../../../agent/src/config/file.rs"]
mod agent;

fuzz_target!(|data: &[u8]| {
    let mut file = tempfile::NamedTempFile::new_in("/dev/shm").expect("there is memory");
    file.write_all(data).expect("there is memory");
    if let Ok(config) = server::Config::load(Some(file.path())) {
        let _ = (config.ranges(), config.lifetimes());
    }
    let _ = agent::read(file.path());
    if let Ok(settings) = serde_json::from_slice(data) {
        let _ = agent::check(settings);
    }
});
