//! What a client sends after an upgrade to SPDY: frames and their compressed headers, in pieces.
#![no_main]

use bytes::BytesMut;
use control_apiserver::spdy::Decoder;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|pieces: Vec<Vec<u8>>| {
    let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::new());
    for piece in pieces {
        buffer.extend_from_slice(&piece);
        while let Ok(Some(_frame)) = decoder.next(&mut buffer) {}
    }
});
