//! Lines of a container's log, which may have been damaged by a power cut.
#![no_main]

use agent_streams::line::Line;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for line in data.split(|byte| *byte == b'\n') {
        if let Some(read) = Line::parse(line) {
            assert!(read.text.len() < line.len());
        }
    }
});
