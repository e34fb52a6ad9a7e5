//! Join tokens: raw text, and what their text form may hold.
#![no_main]

use control_wire::JoinToken;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for text in [text.to_owned(), format!("bramble1.{text}")] {
        if let Ok(token) = text.parse::<JoinToken>() {
            assert_eq!(token.to_string().parse(), Ok(token));
        }
    }
});
