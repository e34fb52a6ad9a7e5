//! From [`Settings`] to the file, with remarks for whoever opens it later.

use std::fmt::Write;

use serde_json::{Map, Value};

use crate::settings::{Role, Settings};

const HEAD: &str = "\
# The settings of this Bramble card, read at every start of the machine.
# A line that begins with # is a remark; to use a setting, remove the # before it. Text goes between straight quotes.
# What is wrong with this file is said in bramble-error.txt beside it.

# \"server\" starts a cluster, \"agent\" joins one, \"auto\" joins by its token or waits until it is let in.
";

/// The file's text. `parse` reads the same settings from it, provided that they pass its checks.
pub fn render(settings: &Settings) -> String {
    let mut text = HEAD.to_owned();
    line(&mut text, "role", settings.role.name());
    text.push_str("\n# The machine's name; one is made from its key where none is given.\n");
    optional(&mut text, "hostname", settings.hostname.as_deref(), "pi-4");
    if settings.role != Role::Server {
        text.push_str(
            "\n# The token that `bramble token create --card` prints. It is wiped from here after the join.\n",
        );
        optional(&mut text, "join", settings.join.as_ref().map(|token| token.0.as_str()), "bramble1.(the token)");
        text.push_str(
            "\n# A server to ask to be let in. Without it and without a token, one on this network is found.\n",
        );
        optional(&mut text, "server", settings.server.as_deref(), "192.168.1.4:6443");
    }
    sections(&mut text, settings);
    table(&mut text, "agent", &settings.agent);
    if settings.role == Role::Server {
        table(&mut text, "server", &settings.server_settings);
    }
    text
}

fn sections(text: &mut String, settings: &Settings) {
    let wifi = settings.wifi.as_ref();
    section(text, "wifi", wifi.is_some());
    optional(text, "ssid", wifi.map(|wifi| wifi.ssid.as_str()), "the network's name");
    let password = wifi.and_then(|wifi| wifi.password.as_ref()).map(|password| password.0.as_str());
    optional(text, "password", password, "its password");
    optional(text, "country", wifi.and_then(|wifi| wifi.country.as_deref()), "DE");
    section(text, "ssh", !settings.authorized_keys.is_empty());
    if settings.authorized_keys.is_empty() {
        text.push_str("# authorized_keys = [\"ssh-ed25519 AAAA... me@laptop\"]\n");
    } else {
        list(text, "authorized_keys", settings.authorized_keys.iter().map(String::as_str));
    }
    let network = settings.network.as_ref();
    section(text, "network", network.is_some());
    let address = network.map(|network| format!("{}/{}", network.address, network.prefix));
    optional(text, "address", address.as_deref(), "192.168.1.5/24");
    let gateway = network.and_then(|network| network.gateway).map(|gateway| gateway.to_string());
    optional(text, "gateway", gateway.as_deref(), "192.168.1.1");
    match network {
        Some(network) => {
            let servers: Vec<String> = network.dns.iter().map(ToString::to_string).collect();
            list(text, "dns", servers.iter().map(String::as_str));
        }
        None => text.push_str("# dns = [\"192.168.1.1\"]\n"),
    }
}

fn section(text: &mut String, name: &str, used: bool) {
    let _ = writeln!(text, "\n{}[{name}]", if used { "" } else { "# " });
}

fn line(text: &mut String, key: &str, value: &str) {
    let _ = writeln!(text, "{key} = {}", quoted(value));
}

fn optional(text: &mut String, key: &str, value: Option<&str>, example: &str) {
    match value {
        Some(value) => line(text, key, value),
        None => {
            text.push_str("# ");
            line(text, key, example);
        }
    }
}

fn list<'a>(text: &mut String, key: &str, values: impl Iterator<Item = &'a str>) {
    let values: Vec<String> = values.map(quoted).collect();
    let _ = writeln!(text, "{key} = [{}]", values.join(", "));
}

fn table(text: &mut String, name: &str, values: &Map<String, Value>) {
    if values.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n[{name}]");
    for (key, value) in values.iter().filter(|(_, value)| !value.is_null()) {
        let _ = writeln!(text, "{} = {}", key_of(key), inline(value));
    }
}

/// TOML has no null: what is null is left out.
fn inline(value: &Value) -> String {
    match value {
        Value::Null => "\"\"".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().filter(|value| !value.is_null()).map(inline).collect();
            format!("[{}]", values.join(", "))
        }
        Value::Object(map) => {
            let entries = map.iter().filter(|(_, value)| !value.is_null());
            let entries: Vec<String> =
                entries.map(|(key, value)| format!("{} = {}", key_of(key), inline(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}

fn key_of(key: &str) -> String {
    let is_bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if is_bare { key.to_owned() } else { quoted(key) }
}

/// A basic string.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
