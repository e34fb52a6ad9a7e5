//! Takes values out of tables, and collects what is wrong with them.

use std::ops::Range;

use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};

use super::text::line_number;
use crate::problem::{Problem, Problems};
use crate::settings::Settings;

/// The sections and what each may hold; the first is the file's top.
const NAMES: &[(&str, &[&str])] = &[
    ("", &["role", "hostname", "join", "server", "wifi", "ssh", "network", "agent"]),
    ("wifi", &["ssid", "password", "country"]),
    ("ssh", &["authorized_keys"]),
    ("network", &["address", "gateway", "dns"]),
];
/// As likely as this it was a slip of the fingers.
const LIKENESS_MIN: f64 = 0.75;
const LIST_MAX: usize = 64;
/// Tables in tables of a program's own settings.
const DEPTH_MAX: usize = 16;

/// One table of the file.
pub struct Section<'a> {
    name: &'static str,
    table: &'a DeTable<'a>,
    at: usize,
}

impl<'a> Section<'a> {
    pub fn top(table: &'a DeTable<'a>) -> Self {
        Self { name: "", table, at: 0 }
    }

    fn value(&self, key: &str) -> Option<(&'a DeValue<'a>, Range<usize>)> {
        self.table.get(key).map(|value| (value.get_ref(), value.span()))
    }

    pub fn is_table(&self, key: &str) -> bool {
        matches!(self.value(key), Some((DeValue::Table(_), _)))
    }

    /// Whether something else than a table is given, and not just left empty.
    pub fn has_text(&self, key: &str) -> bool {
        match self.value(key) {
            Some((DeValue::String(text), _)) => !text.trim().is_empty(),
            Some((DeValue::Table(_), _)) | None => false,
            Some(_) => true,
        }
    }
}

pub struct Reader<'a> {
    text: &'a str,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, problems: Vec::new() }
    }

    pub fn finish(self, settings: Settings) -> Result<Settings, Problems> {
        if self.problems.is_empty() { Ok(settings) } else { Err(Problems::new(self.problems)) }
    }

    fn complain(&mut self, at: usize, words: impl Into<String>) {
        self.problems.push(Problem { line: Some(line_number(self.text, at)), words: words.into() });
    }

    /// About the value of `key`.
    pub fn complain_at(&mut self, section: &Section, key: &str, words: impl Into<String>) {
        let at = section.value(key).map_or(section.at, |(_, span)| span.start);
        self.complain(at, words);
    }

    /// About a section as a whole.
    pub fn complain_here(&mut self, section: &Section, words: &str) {
        self.complain(section.at, words);
    }

    /// Complains about every name that is none here.
    pub fn known(&mut self, section: &Section) {
        let known = names(section.name);
        for key in section.table.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let words = unknown(name, section.name, known);
                self.complain(key.span().start, words);
            }
        }
    }

    /// A text that passes `check`; empty is as not given.
    pub fn checked<T>(&mut self, section: &Section, key: &str, check: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let (value, span) = section.value(key)?;
        let DeValue::String(text) = value else {
            let example = match value {
                DeValue::Integer(number) if key != "password" => number.to_string(),
                _ => "...".to_owned(),
            };
            self.complain(span.start, format!("the value must be in quotes: {key} = \"{example}\""));
            return None;
        };
        // The name of a wifi network, and its password, may begin with a space.
        let text = if section.name == "wifi" { text } else { text.trim() };
        if text.trim().is_empty() {
            return None;
        }
        check(text).map_err(|words| self.complain(span.start, words)).ok()
    }

    /// As `checked`, of a text that no line break may be in, so that it can be wiped by the line.
    pub fn one_line<T>(
        &mut self,
        section: &Section,
        key: &str,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (_, span) = section.value(key)?;
        if self.text.get(span.clone()).is_some_and(|raw| raw.starts_with("\"\"\"") || raw.starts_with("'''")) {
            self.complain(span.start, format!("{key} must be in one line, between single quotes: {key} = \"...\""));
            return None;
        }
        self.checked(section, key, check)
    }

    /// Texts that pass `check` each.
    pub fn list<T>(&mut self, section: &Section, key: &str, check: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let Some((value, span)) = section.value(key) else { return Vec::new() };
        let DeValue::Array(values) = value else {
            self.complain(span.start, format!("{key} is a list, in square brackets: {key} = [\"...\"]"));
            return Vec::new();
        };
        if values.len() > LIST_MAX {
            self.complain(span.start, format!("{key} has more than {LIST_MAX} entries"));
            return Vec::new();
        }
        let mut list = Vec::new();
        for value in values.iter() {
            let at = value.span().start;
            match value.get_ref() {
                DeValue::String(text) if text.trim().is_empty() => {}
                DeValue::String(text) => match check(text) {
                    Ok(one) => list.push(one),
                    Err(words) => self.complain(at, words),
                },
                _ => self.complain(at, format!("each entry of {key} must be in quotes: {key} = [\"...\"]")),
            }
        }
        list
    }

    pub fn section<'t>(&mut self, top: &Section<'t>, name: &'static str) -> Option<Section<'t>> {
        let (value, span) = top.value(name)?;
        match value {
            DeValue::Table(table) => Some(Section { name, table, at: span.start }),
            _ => {
                self.complain(span.start, format!("{name} is a section: a line [{name}], and its settings below it"));
                None
            }
        }
    }

    /// A table as it is, in JSON.
    pub fn free(&mut self, top: &Section, name: &'static str) -> Map<String, Value> {
        let Some(section) = self.section(top, name) else { return Map::new() };
        self.map(section.table, 1)
    }

    fn map(&mut self, table: &DeTable, depth: usize) -> Map<String, Value> {
        let mut keys: Vec<_> = table.iter().collect();
        keys.sort_by_key(|(key, _)| key.span().start);
        let entries = keys.into_iter();
        let mut pair = |key: &str, value: &toml::Spanned<DeValue>| (key.to_owned(), self.json(value, depth));
        entries.map(|(key, value)| pair(key.get_ref(), value)).collect()
    }

    fn json(&mut self, value: &toml::Spanned<DeValue>, depth: usize) -> Value {
        let span = value.span();
        if depth > DEPTH_MAX {
            self.complain(span.start, format!("more than {DEPTH_MAX} lists and tables lie in each other"));
            return Value::Null;
        }
        match value.get_ref() {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Boolean(flag) => Value::Bool(*flag),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::from(number),
                Err(_) => self.no_number(span),
            },
            DeValue::Float(number) => match number.as_str().parse::<f64>().map(serde_json::Number::from_f64) {
                Ok(Some(number)) => Value::Number(number),
                _ => self.no_number(span),
            },
            DeValue::Datetime(time) => Value::String(time.to_string()),
            DeValue::Array(values) => values.iter().map(|value| self.json(value, depth + 1)).collect::<Vec<_>>().into(),
            DeValue::Table(table) => Value::Object(self.map(table, depth + 1)),
        }
    }

    fn no_number(&mut self, span: Range<usize>) -> Value {
        self.complain(span.start, "this number is too large");
        Value::Null
    }
}

/// What other systems' wifi settings are called, and why there are none here.
fn unsupported(name: &str, section: &str) -> Option<String> {
    let why = match (section, name.to_ascii_lowercase().as_str()) {
        (
            "wifi",
            "identity" | "user" | "username" | "eap" | "phase2" | "anonymous_identity" | "ca_cert" | "client_cert",
        ) => {
            "networks that ask for a user name (enterprise, 802.1X) are not supported, only those with one password, or none"
        }
        ("wifi", "key_mgmt" | "security" | "sae" | "sae_password" | "wpa3" | "wpa" | "proto" | "ieee80211w") => {
            "cards join WPA2 networks, and open ones where no password is given; a network that takes WPA3 alone is not \
             supported: let the router take WPA2 too"
        }
        ("wifi", "wep_key" | "wep_key0" | "wep") => "WEP is not supported: it protects nothing",
        ("wifi", "hidden" | "scan_ssid") => "hidden networks are found without a setting: remove this line",
        _ => return None,
    };
    Some(format!("{name} is no setting of [{section}]: {why}"))
}

fn names(section: &str) -> &'static [&'static str] {
    NAMES.iter().find(|(name, _)| *name == section).map_or(&[], |(_, names)| names)
}

fn unknown(name: &str, section: &str, known: &[&str]) -> String {
    if let Some(words) = unsupported(name, section) {
        return words;
    }
    let elsewhere = NAMES.iter().find(|(_, names)| names.contains(&name));
    match elsewhere {
        Some(("", _)) => {
            return format!("{name} belongs at the top of the file, above the first [section]");
        }
        Some((other, _)) => return format!("{name} belongs below the line [{other}]"),
        None => {}
    }
    let likeness = |one: &&&str| strsim::jaro(&name.to_ascii_lowercase(), one);
    let nearest = known.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    match nearest {
        Some(nearest) if likeness(&nearest) >= LIKENESS_MIN => {
            format!("{name} is no setting: did you mean {nearest}?")
        }
        _ if section.is_empty() => format!("{name} is no setting; there are {}", known.join(", ")),
        _ => format!("{name} is no setting of [{section}]; there are {}", known.join(", ")),
    }
}
