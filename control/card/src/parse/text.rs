//! Whether the bytes are text at all, as editors on all systems leave it.

use crate::problem::{Problem, Problems};

/// The text without the mark that some editors put before it.
pub fn decode(file: &[u8]) -> Result<&str, Problems> {
    if file.starts_with(&[0xff, 0xfe]) || file.starts_with(&[0xfe, 0xff]) {
        return Err(Problems::whole("the file was saved as UTF-16: save it with the encoding UTF-8"));
    }
    let file = file.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(file);
    if file.starts_with(b"{\\rtf") || file.starts_with(b"PK\x03\x04") {
        let words = "the file was saved by a word processor: save it as plain text";
        return Err(Problems::whole(words));
    }
    if file.contains(&0) {
        return Err(Problems::whole("the file is damaged: copy it to the card again"));
    }
    std::str::from_utf8(file).map_err(|error| {
        let before = String::from_utf8_lossy(&file[..error.valid_up_to()]);
        let words = "there is a letter in another encoding than UTF-8: save the file with the encoding UTF-8";
        Problems::new(vec![Problem { line: Some(line_number(&before, before.len())), words: words.to_owned() }])
    })
}

/// From 1.
pub fn line_number(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    1 + text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count()
}
