//! What a line that is no TOML may have meant, for somebody who does not know what TOML is.

use crate::check::shown;

/// As word processors and web pages set them.
const CURLY: [char; 11] = ['“', '”', '„', '‟', '‘', '’', '‚', '«', '»', '″', '＂'];
const SECRETS: [&str; 2] = ["password", "join"];

/// Says what is wrong with `line`; `parser` is what the TOML parser says.
pub fn explain(line: &str, parser: &str) -> String {
    let line = line.trim();
    let outside = outside_quotes(line);
    if let Some(curly) = outside.chars().find(|c| CURLY.contains(c)) {
        return format!("the quotes are curly ({curly}): type straight ones (\") instead, in a plain text editor");
    }
    if let Some(odd) = outside.chars().find(|c| !c.is_ascii() && (c.is_whitespace() || c.is_control()) || is_hidden(*c))
    {
        return format!("there is {}: type the line anew", shown(odd));
    }
    if parser.contains("duplicate key") {
        let name = line.trim_start_matches('[').split(['=', ']']).next().unwrap_or_default().trim();
        return format!("{name} is given twice: keep one of the lines");
    }
    if line.starts_with("ssh-") || line.starts_with("ecdsa-") || line.starts_with("sk-") {
        return "each key goes between quotes and is followed by a comma: \"ssh-ed25519 AAAA... me@laptop\","
            .to_owned();
    }
    if line.starts_with('[') && !line.contains('=') {
        return if line.contains(']') {
            format!("\"{line}\" is no section: it is a name in brackets, such as [wifi], alone on its line")
        } else {
            format!("the closing bracket is missing: {line}]")
        };
    }
    let Some((name, value)) = line.split_once('=') else {
        return match line.split_once(':') {
            Some((name, _)) if is_name(name.trim()) => {
                format!("write = instead of the colon: {} = \"...\"", name.trim())
            }
            _ => "this line is not understood: a line is NAME = \"VALUE\", a [section], or begins with #".to_owned(),
        };
    };
    value_problem(name.trim(), value.trim())
}

fn value_problem(name: &str, value: &str) -> String {
    if !is_name(name) {
        return format!("\"{name}\" is no name of a setting: before the = there is one word, such as hostname");
    }
    let Some(quote) = value.chars().next() else { return format!("{name} has no value: {name} = \"...\"") };
    match quote {
        '"' | '\'' => {
            let rest = &value[1..];
            let Some(end) = closing(rest, quote) else {
                return format!("the closing quote ({quote}) of {name} is missing, at the line's end");
            };
            let after = rest[end + 1..].trim();
            if !after.is_empty() && !after.starts_with('#') {
                return format!(
                    "there is something behind the closing quote of {name}; a quote inside needs a \\ before it"
                );
            }
            if value.contains('\\') {
                return format!("in {name}, write each backslash twice (\\\\), or take single quotes: {name} = '...'");
            }
            format!("the value of {name} is not understood")
        }
        '[' | '{' => {
            format!("the list of {name} is not whole: [\"one\", \"two\"], with all quotes, commas and brackets")
        }
        _ if SECRETS.contains(&name) => format!("the value of {name} must be in quotes: {name} = \"...\""),
        _ => {
            let bare: String = value.split('#').next().unwrap_or_default().trim().trim_matches(['"', '\'']).to_owned();
            format!("the value must be in quotes: {name} = \"{bare}\"")
        }
    }
}

/// Where the quote that ends a string is.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            c if c == quote => return Some(at),
            _ => {}
        }
    }
    None
}

/// What is neither in a string nor a remark.
fn outside_quotes(line: &str) -> String {
    let (mut outside, mut inside) = (String::new(), None);
    for c in line.chars() {
        match inside {
            Some(quote) if c == quote => inside = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => inside = Some(c),
            None if c == '#' => break,
            None => outside.push(c),
        }
    }
    // A string without an end: all of it may be to blame.
    if inside.is_some() { line.to_owned() } else { outside }
}

fn is_hidden(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{feff}' | '\u{2060}')
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '.')
}
