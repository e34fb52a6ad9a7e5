//! Wiping a token out of the file without moving a byte of the rest, so that it is gone from where it lay.

use std::ops::Range;

use crate::check::is_token_character;

const MARK: &[u8] = b"bramble1.";
/// A shorter tail is a remark about tokens, not one.
const TOKEN_BYTES_MIN: usize = 16;

/// The contents to write over the file, one after the other with a sync between them; empty where no token is in it.
/// All are as long as the file.
///
/// After a power cut between or within any of them, the file is valid TOML without a `join`, or as before, and wiping
/// it again ends in the same: first the line becomes a remark (one byte), then the token blank, then the line `note`.
pub fn wipe(file: &[u8], note: &str) -> Vec<Vec<u8>> {
    let lines = token_lines(file);
    if lines.is_empty() {
        return Vec::new();
    }
    let mut remarks = file.to_vec();
    for line in lines.iter().filter(|line| line.is_join) {
        remarks[line.start] = b'#';
    }
    let mut blank = remarks.clone();
    for secret in lines.iter().flat_map(|line| &line.secrets) {
        blank[secret.clone()].fill(b' ');
    }
    let mut noted = blank.clone();
    let text = format!("# {note}").replace(|c: char| !(' '..='~').contains(&c), " ");
    for line in lines.iter().filter(|line| line.is_join) {
        let line = &mut noted[line.start..line.end];
        line.fill(b' ');
        let length = text.len().min(line.len());
        line[..length].copy_from_slice(&text.as_bytes()[..length]);
    }
    vec![remarks, blank, noted]
}

/// Whether there is a token in the file, in a remark too.
pub fn holds_token(file: &[u8]) -> bool {
    !token_lines(file).is_empty()
}

struct Line {
    start: usize,
    /// Without the line's end.
    end: usize,
    /// A `join`, or a remark: nothing else is lost with the line.
    is_join: bool,
    /// What makes the token one, behind its mark; more than one after a wiping that was cut.
    secrets: Vec<Range<usize>>,
}

fn token_lines(file: &[u8]) -> Vec<Line> {
    let mut lines = Vec::new();
    // Behind the mark that some editors put before the text.
    let mut start = if file.starts_with(&[0xef, 0xbb, 0xbf]) { 3 } else { 0 };
    while start < file.len() {
        let length = file[start..].iter().position(|byte| *byte == b'\n');
        let next = length.map_or(file.len(), |length| start + length + 1);
        let mut end = next;
        while end > start && matches!(file[end - 1], b'\n' | b'\r') {
            end -= 1;
        }
        let line = &file[start..end];
        if let Some(mark) = line.windows(MARK.len()).position(|window| window == MARK) {
            let word = line.trim_ascii_start();
            let is_join = [&b"#"[..], b"join", b"\"join\""].iter().any(|begin| word.starts_with(begin));
            let secrets = long_words(line, mark + MARK.len());
            let secrets = secrets.map(|word| start + word.start..start + word.end).collect::<Vec<_>>();
            if !secrets.is_empty() {
                lines.push(Line { start, end, is_join, secrets });
            }
        }
        start = next;
    }
    lines
}

/// What is as long as a token's body at least, from `from` on.
fn long_words(line: &[u8], from: usize) -> impl Iterator<Item = Range<usize>> {
    let mut at = from;
    let words = line[from..].split(|byte| !is_token_character(char::from(*byte))).map(move |word| {
        let found = at..at + word.len();
        at = found.end + 1;
        found
    });
    words.filter(|word| word.len() >= TOKEN_BYTES_MIN)
}
