#![no_main]

use control_wire::discovery::packet;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(question) = packet::read_question(data) {
        let announcement = packet::Announcement { ca_hash: [1; 32], port: 6443, addresses: Vec::new() };
        let answer = packet::answer(&question, &announcement);
        assert_eq!(packet::read_answer(&answer, question.id), Some(announcement));
    }
    let id = data.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
    let _ = packet::read_answer(data, id);
});
