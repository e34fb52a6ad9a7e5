//! The syntax of names, labels and their keys, in the words Kubernetes refuses them with.

/// Length limits, in bytes.
pub const DNS_LABEL_MAX: usize = 63;
pub const DNS_SUBDOMAIN_MAX: usize = 253;
pub const LABEL_VALUE_MAX: usize = 63;
const QUALIFIED_NAME_MAX: usize = 63;
const PORT_NAME_MAX: usize = 15;
const CONFIG_KEY_MAX: usize = 253;

const DNS_LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const DNS_1035_LABEL: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const DNS_SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const QUALIFIED_NAME: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Starts and ends alphanumeric, with `-` and `extra` between.
fn is_bounded(text: &str, edge: fn(u8) -> bool, extra: &[u8]) -> bool {
    let bytes = text.as_bytes();
    let edges = bytes.first().is_some_and(|byte| edge(*byte)) && bytes.last().is_some_and(|byte| edge(*byte));
    edges && bytes.iter().all(|byte| edge(*byte) || *byte == b'-' || extra.contains(byte))
}

fn too_long(max: usize) -> String {
    format!("must be no more than {max} characters")
}

/// Why `text` is no RFC 1123 label; empty if it is one.
pub fn dns_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > DNS_LABEL_MAX {
        wrong.push(too_long(DNS_LABEL_MAX));
    }
    if !is_bounded(text, is_lower, b"") {
        wrong.push(DNS_LABEL.to_owned());
    }
    wrong
}

/// Why `text` is no RFC 1035 label, as names of Services are: it starts with a letter.
pub fn dns_1035_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > DNS_LABEL_MAX {
        wrong.push(too_long(DNS_LABEL_MAX));
    }
    if !is_bounded(text, is_lower, b"") || !text.starts_with(|first: char| first.is_ascii_lowercase()) {
        wrong.push(DNS_1035_LABEL.to_owned());
    }
    wrong
}

/// Why `text` cannot stand between two slashes of an address, as names of roles must.
pub fn path_segment(text: &str) -> Vec<String> {
    if matches!(text, "." | "..") {
        return vec![format!("may not be '{text}'")];
    }
    ["/", "%"].into_iter().filter(|part| text.contains(part)).map(|part| format!("may not contain '{part}'")).collect()
}

/// Why `text` is no RFC 1123 subdomain.
pub fn dns_subdomain(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > DNS_SUBDOMAIN_MAX {
        wrong.push(too_long(DNS_SUBDOMAIN_MAX));
    }
    if !text.split('.').all(|part| is_bounded(part, is_lower, b"")) {
        wrong.push(DNS_SUBDOMAIN.to_owned());
    }
    wrong
}

/// Why `text` is no qualified name (`prefix/name`), as label keys and resource names are.
pub fn qualified(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut parts = text.splitn(3, '/');
    let first = parts.next().unwrap_or("");
    let name = match (parts.next(), parts.next()) {
        (None, _) => first,
        (Some(name), None) => {
            if first.is_empty() {
                wrong.push("prefix part must be non-empty".to_owned());
            } else {
                wrong.extend(dns_subdomain(first).into_iter().map(|why| format!("prefix part {why}")));
            }
            name
        }
        _ => {
            return vec![format!(
                "a qualified name {QUALIFIED_NAME} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > QUALIFIED_NAME_MAX {
        wrong.push(format!("name part {}", too_long(QUALIFIED_NAME_MAX)));
    }
    if !is_bounded(name, |byte| byte.is_ascii_alphanumeric(), b"_.") {
        wrong.push(format!("name part {QUALIFIED_NAME}"));
    }
    wrong
}

/// Why `text` is no label value.
pub fn label_value(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > LABEL_VALUE_MAX {
        wrong.push(too_long(LABEL_VALUE_MAX));
    }
    if !text.is_empty() && !is_bounded(text, |byte| byte.is_ascii_alphanumeric(), b"_.") {
        wrong.push(LABEL_VALUE.to_owned());
    }
    wrong
}

/// Why `text` is no key of a ConfigMap or Secret.
pub fn config_key(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > CONFIG_KEY_MAX {
        wrong.push(too_long(CONFIG_KEY_MAX));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if text.is_empty() || !text.bytes().all(plain) {
        wrong.push(CONFIG_KEY.to_owned());
    } else if text == "." {
        wrong.push("must not be '.'".to_owned());
    } else if text == ".." {
        wrong.push("must not be '..'".to_owned());
    } else if text.starts_with("..") {
        wrong.push("must not start with '..'".to_owned());
    }
    wrong
}

/// Why `text` is no name of an environment variable: any printable ASCII but `=`.
pub fn env_var(text: &str) -> Vec<String> {
    let printable = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b'=';
    if text.is_empty() {
        vec!["environment variable name must be non-empty".to_owned()]
    } else if text.bytes().all(printable) {
        Vec::new()
    } else {
        vec![
            "a valid environment variable name must consist only of printable ASCII characters other than '='"
                .to_owned(),
        ]
    }
}

/// Why `text` is no port name.
pub fn port_name(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > PORT_NAME_MAX {
        wrong.push(too_long(PORT_NAME_MAX));
    }
    if !text.bytes().all(|byte| is_lower(byte) || byte == b'-') {
        wrong.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        wrong.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        wrong.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        wrong.push("must not begin or end with a hyphen".to_owned());
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rfc_1123_rules() {
        for good in ["a", "a-b", "1a", "0"] {
            assert!(dns_label(good).is_empty(), "{good}");
        }
        for bad in ["", "A", "-a", "a-", "a.b", "a_b", &"a".repeat(64)] {
            assert!(!dns_label(bad).is_empty(), "{bad}");
        }
        assert!(dns_subdomain("a.b-c.d").is_empty());
        for bad in ["", ".a", "a..b", "a.-b", "A.b"] {
            assert!(!dns_subdomain(bad).is_empty(), "{bad}");
        }
    }

    #[test]
    fn services_start_with_a_letter_and_roles_may_have_colons() {
        assert!(dns_1035_label("web-1").is_empty());
        for bad in ["", "1a", "a.b", "A", "a-", &"a".repeat(64)] {
            assert!(!dns_1035_label(bad).is_empty(), "{bad}");
        }
        assert!(path_segment("system:node:a.b").is_empty());
        for bad in [".", "..", "a/b", "a%b"] {
            assert!(!path_segment(bad).is_empty(), "{bad}");
        }
    }

    #[test]
    fn label_keys_may_have_one_prefix() {
        for good in ["a", "A_b.c", "example.com/Name"] {
            assert!(qualified(good).is_empty(), "{good}");
        }
        for bad in ["", "/a", "a/", "a/b/c", "A.com/x", "-a", &"x".repeat(64)] {
            assert!(!qualified(bad).is_empty(), "{bad}");
        }
        assert!(label_value("").is_empty());
        assert!(!label_value("a b").is_empty());
    }

    #[test]
    fn config_keys_and_port_names_have_their_own_rules() {
        for good in ["a.b", "_", "..a.".trim_start_matches('.'), ".bashrc"] {
            assert!(config_key(good).is_empty(), "{good}");
        }
        for bad in ["", ".", "..", "..a", "a/b"] {
            assert!(!config_key(bad).is_empty(), "{bad}");
        }
        for good in ["http", "a-1"] {
            assert!(port_name(good).is_empty(), "{good}");
        }
        for bad in ["", "80", "a--b", "-a", "Http", "sixteen-letters-x"] {
            assert!(!port_name(bad).is_empty(), "{bad}");
        }
    }
}
