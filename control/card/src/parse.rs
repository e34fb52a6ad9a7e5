//! From the file's bytes to [`Settings`], or to everything that is wrong with it.

mod reader;
mod text;

use toml::de::DeTable;

use self::reader::{Reader, Section};
use crate::check;
use crate::problem::{Problem, Problems};
use crate::settings::{FILE_BYTES_MAX, Network, Role, Secret, Settings, Wifi};
use crate::syntax;

/// Broken lines that are told at once: one that lacks a quote may break those behind it.
const BROKEN_LINES_MAX: usize = 3;

/// Reads a whole file.
pub fn parse(file: &[u8]) -> Result<Settings, Problems> {
    if file.len() > FILE_BYTES_MAX {
        return Err(Problems::whole(format!("the file is larger than {} KiB", FILE_BYTES_MAX >> 10)));
    }
    let text = text::decode(file)?;
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(broken(text, &errors));
    }
    let mut reader = Reader::new(text);
    let settings = settings(&mut reader, table.get_ref());
    reader.finish(settings)
}

fn broken(text: &str, errors: &[toml::de::Error]) -> Problems {
    let mut problems: Vec<Problem> = Vec::new();
    for error in errors {
        let number = text::line_number(text, error.span().map_or(0, |span| span.start));
        if problems.iter().any(|problem| problem.line == Some(number)) {
            continue;
        }
        let line = text.lines().nth(number - 1).unwrap_or_default();
        problems.push(Problem { line: Some(number), words: syntax::explain(line, error.message()) });
    }
    problems.sort_by_key(|problem| problem.line);
    problems.truncate(BROKEN_LINES_MAX);
    Problems::new(problems)
}

fn settings(reader: &mut Reader, table: &DeTable) -> Settings {
    let top = Section::top(table);
    reader.known(&top);
    let role = reader.checked(&top, "role", check::role).unwrap_or_default();
    let mut settings = Settings {
        role,
        hostname: reader.checked(&top, "hostname", check::hostname),
        join: reader.one_line(&top, "join", check::token).map(Secret),
        ..Settings::default()
    };
    // A server elsewhere is an address, the server's own settings a table: TOML has one of both.
    if top.is_table("server") {
        settings.server_settings = reader.free(&top, "server");
        if role != Role::Server {
            let words = "[server] holds a server's settings: set role = \"server\", or write server = \"ADDRESS\"";
            reader.complain_at(&top, "server", words);
        }
    } else {
        settings.server = reader.checked(&top, "server", check::server);
    }
    if role == Role::Server {
        for name in ["join", "server"] {
            if top.has_text(name) {
                let words = format!("a machine with role = \"server\" starts its own cluster: remove {name}");
                reader.complain_at(&top, name, words);
            }
        }
    }
    if let Some(wifi) = reader.section(&top, "wifi") {
        settings.wifi = read_wifi(reader, &wifi);
    }
    if let Some(ssh) = reader.section(&top, "ssh") {
        reader.known(&ssh);
        settings.authorized_keys = reader.list(&ssh, "authorized_keys", check::authorized_key);
    }
    if let Some(network) = reader.section(&top, "network") {
        settings.network = read_network(reader, &network);
    }
    settings.agent = reader.free(&top, "agent");
    if settings.agent.contains_key("join") {
        reader.complain_at(&top, "agent", "join belongs at the top of the file, where it is wiped after the join");
    }
    settings
}

fn read_wifi(reader: &mut Reader, wifi: &Section) -> Option<Wifi> {
    reader.known(wifi);
    let ssid = reader.checked(wifi, "ssid", check::ssid);
    let password = reader.checked(wifi, "password", check::password).map(Secret);
    let country = reader.checked(wifi, "country", check::country);
    if ssid.is_none() && (wifi.has_text("password") || country.is_some()) && !wifi.has_text("ssid") {
        reader.complain_here(wifi, "[wifi] lacks the network's name: ssid = \"...\"");
    }
    Some(Wifi { ssid: ssid?, password, country })
}

fn read_network(reader: &mut Reader, network: &Section) -> Option<Network> {
    reader.known(network);
    let address = reader.checked(network, "address", check::address);
    let dns = reader.list(network, "dns", check::dns);
    let Some((own, prefix)) = address else {
        if !network.has_text("address") && (network.has_text("gateway") || !dns.is_empty()) {
            reader.complain_here(network, "[network] lacks this machine's address: address = \"192.168.1.5/24\"");
        }
        return None;
    };
    let gateway = reader.checked(network, "gateway", |text| check::gateway(text, (own, prefix)));
    Some(Network { address: own, prefix, gateway, dns })
}
