//! The lines of strace: calls that succeeded, in the order in which they were done.

use std::collections::HashMap;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// `name(argument, ...) = result`. All strings are in hexadecimal, so that no argument holds a comma.
#[derive(Debug)]
pub struct Call<'a> {
    pub name: &'a str,
    pub arguments: Vec<&'a str>,
    result: &'a str,
}

/// The calls of a trace of one process; its threads may interrupt each other's lines.
pub fn calls(text: &str) -> Vec<Call<'_>> {
    let mut begun: HashMap<&str, &str> = HashMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let Some((thread, said)) = line.split_once(' ') else { continue };
        let said = said.trim_start();
        if let Some(first) = said.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, first);
        } else if let Some((_, rest)) = said.strip_prefix("<... ").and_then(|said| said.split_once(" resumed>")) {
            calls.extend(begun.remove(thread).and_then(|first| Call::parse(first, rest)));
        } else {
            calls.extend(Call::parse(said, ""));
        }
    }
    calls
}

/// The bytes behind `\xNN\xNN`.
fn decode(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).filter_map(|hex| u8::from_str_radix(hex.get(..2)?, 16).ok()).collect()
}

/// What stands between the first of `open` and the next of `close`, decoded.
fn between(text: &str, open: char, close: char) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(open)?;
    rest.split_once(close).map(|(inner, _)| decode(inner))
}

fn path_of(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

/// The file behind `3<path>`, if it still has that name.
fn file_of(text: &str) -> Option<PathBuf> {
    if text.contains("(deleted)") || !text.contains('<') {
        return None;
    }
    between(text, '<', '>').map(path_of)
}

impl<'a> Call<'a> {
    /// None where it failed, or is no call.
    fn parse(first: &'a str, rest: &'a str) -> Option<Self> {
        let (name, told) = first.split_once('(')?;
        let (inner, result) = if rest.is_empty() { split_result(told)? } else { (told, split_result(rest)?.1) };
        let arguments = inner.split(", ").collect();
        (!result.starts_with(['-', '?'])).then_some(Self { name, arguments, result })
    }

    pub fn says(&self, flag: &str) -> bool {
        self.arguments.iter().any(|argument| argument.split('|').any(|word| word == flag))
    }

    /// The path in one argument, from the folder in another where it is relative.
    pub fn path(&self, folder: Option<usize>, index: usize) -> Option<PathBuf> {
        let path = path_of(between(self.arguments.get(index)?, '"', '"')?);
        match folder {
            Some(folder) if path.is_relative() => file_of(self.arguments.get(folder)?).map(|folder| folder.join(path)),
            _ => Some(path),
        }
    }

    pub fn file(&self, index: usize) -> Option<PathBuf> {
        file_of(self.arguments.get(index)?)
    }

    pub fn descriptor(&self, index: usize) -> String {
        let argument = self.arguments.get(index).copied().unwrap_or_default();
        argument.chars().take_while(char::is_ascii_digit).collect()
    }

    pub fn number(&self, index: usize) -> u64 {
        self.arguments[index].parse().unwrap_or_else(|_| panic!("no number at {index} in {self:?}"))
    }

    /// The bytes of one argument.
    pub fn string(&self, index: usize) -> Vec<u8> {
        self.arguments.get(index).and_then(|argument| between(argument, '"', '"')).unwrap_or_default()
    }

    /// All strings from one argument on: one, or the parts of a vector.
    pub fn bytes(&self, from: usize) -> Vec<u8> {
        let strings = self.arguments[from..].iter().filter(|argument| argument.contains('"'));
        let cut = self.arguments.iter().any(|argument| argument.contains("\"..."));
        assert!(!cut, "{} wrote more than the trace shows", self.name);
        strings.filter_map(|argument| between(argument, '"', '"')).flatten().collect()
    }

    pub fn result_number(&self) -> u64 {
        self.result.parse().unwrap_or_else(|_| panic!("no number came of {self:?}"))
    }

    pub fn result_descriptor(&self) -> String {
        self.result.chars().take_while(char::is_ascii_digit).collect()
    }

    pub fn result_file(&self) -> Option<PathBuf> {
        file_of(self.result)
    }
}

/// `arguments) = result`, where blanks may stand before the sign.
fn split_result(text: &str) -> Option<(&str, &str)> {
    let (inner, result) = text.rsplit_once(" = ")?;
    Some((inner.trim_end().strip_suffix(')')?, result))
}
