//! What the settings come to: files for the rest of the system. Pure.

use std::fmt::Write;

use control_card::{Network, Settings, Wifi};
use control_wire::durable::{MODE_PRIVATE, MODE_PUBLIC};
use serde_json::{Map, Value, json};

/// Where the agent says what it is doing, for the console.
pub const STATE_FILE: &str = "run/bramble/agent.state";
/// Files that a plan may hold, and that are removed where it does not.
pub const MANAGED: [&str; 5] = [
    "run/bramble/server.yaml",
    "run/bramble/wpa_supplicant.conf",
    "run/bramble/authorized_keys",
    "run/systemd/network/05-bramble-wired.network",
    "run/systemd/network/05-bramble-wifi.network",
];
const WIRED: &str = "[Match]\nName=eth* en* usb*\nType=ether\nKind=!*\n";
const WIRELESS: &str = "[Match]\nType=wlan\nKind=!*\n";

/// One file below the machine's root.
#[derive(Debug, PartialEq, Eq)]
pub struct Planned {
    pub path: &'static str,
    pub mode: u32,
    pub content: String,
}

/// All files for these settings of a machine with this name.
pub fn files(settings: &Settings, hostname: &str) -> Vec<Planned> {
    let file = |path, mode, content| Planned { path, mode, content };
    let mut files = vec![
        file("run/bramble/role", MODE_PUBLIC, format!("{}\n", settings.role.name())),
        file("run/bramble/agent.yaml", MODE_PRIVATE, format!("{}\n", agent(settings, hostname))),
        file("etc/hostname", MODE_PUBLIC, format!("{hostname}\n")),
        file(
            "etc/hosts",
            MODE_PUBLIC,
            format!("127.0.0.1 localhost\n127.0.1.1 {hostname}\n::1 localhost ip6-localhost ip6-loopback\n"),
        ),
    ];
    if settings.role == control_card::Role::Server {
        let server = Value::Object(settings.server_settings.clone());
        files.push(file("run/bramble/server.yaml", MODE_PRIVATE, format!("{server}\n")));
    }
    if let Some(wifi) = &settings.wifi {
        files.push(file("run/bramble/wpa_supplicant.conf", MODE_PRIVATE, wpa_supplicant(wifi)));
    }
    if !settings.authorized_keys.is_empty() {
        let keys = settings.authorized_keys.join("\n") + "\n";
        files.push(file("run/bramble/authorized_keys", MODE_PRIVATE, keys));
    }
    // A machine with wifi set up has its fixed address there: a cable is for the time of setting up.
    match &settings.network {
        Some(network) if settings.wifi.is_some() => {
            files.push(file("run/systemd/network/05-bramble-wifi.network", MODE_PUBLIC, fixed(WIRELESS, network)));
        }
        Some(network) => {
            files.push(file("run/systemd/network/05-bramble-wired.network", MODE_PUBLIC, fixed(WIRED, network)));
        }
        None => {}
    }
    files
}

/// The agent's settings as its own file has them: JSON is YAML too.
fn agent(settings: &Settings, hostname: &str) -> Value {
    let mut agent = Map::from_iter([
        ("nodeName".to_owned(), json!(hostname)),
        ("setClock".to_owned(), json!(true)),
        ("stateFile".to_owned(), json!(format!("/{STATE_FILE}"))),
    ]);
    if let Some(server) = &settings.server {
        agent.insert("servers".to_owned(), json!([server]));
    }
    agent.extend(settings.agent.clone());
    Value::Object(agent)
}

fn wpa_supplicant(wifi: &Wifi) -> String {
    let mut text = String::from("ctrl_interface=/run/wpa_supplicant\nupdate_config=0\n");
    if let Some(country) = &wifi.country {
        let _ = writeln!(text, "country={country}");
    }
    // Hexadecimal, so that no name can end the line or the quotes.
    let ssid = wifi.ssid.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let _ = write!(text, "network={{\n\tssid={ssid}\n\tscan_ssid=1\n");
    match &wifi.password {
        None => text.push_str("\tkey_mgmt=NONE\n"),
        Some(key) if key.0.len() == 64 => {
            let _ = writeln!(text, "\tpsk={}", key.0);
        }
        // What is between the first quote and the line's last one, so that quotes within do no harm.
        Some(password) => {
            let _ = writeln!(text, "\tpsk=\"{}\"", password.0);
        }
    }
    text.push_str("}\n");
    text
}

fn fixed(link: &str, network: &Network) -> String {
    let mut text = format!("{link}\n[Network]\nDHCP=no\nLLMNR=no\nMulticastDNS=no\n");
    let _ = writeln!(text, "Address={}/{}", network.address, network.prefix);
    if let Some(gateway) = network.gateway {
        let _ = writeln!(text, "Gateway={gateway}");
    }
    for server in &network.dns {
        let _ = writeln!(text, "DNS={server}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(text: &str) -> Vec<Planned> {
        files(&control_card::parse(text.as_bytes()).expect("parses"), "pi-4")
    }

    fn content<'a>(files: &'a [Planned], path: &str) -> &'a str {
        &files.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("no {path}")).content
    }

    #[test]
    fn a_plain_agent_needs_a_name_and_no_network_files() {
        let files = planned("server = \"10.0.0.1\"\n[agent]\nmetrics = \"off\"\nsetClock = false\n");
        let agent: Value = serde_json::from_str(content(&files, "run/bramble/agent.yaml")).expect("is JSON");
        assert_eq!(
            agent,
            json!({"nodeName": "pi-4", "setClock": false, "stateFile": "/run/bramble/agent.state",
                   "servers": ["10.0.0.1:6443"], "metrics": "off"})
        );
        assert_eq!(content(&files, "run/bramble/role"), "auto\n");
        assert!(files.iter().all(|file| !file.path.contains("network") && !file.path.contains("server")));
    }

    #[test]
    fn wifi_survives_odd_names_and_passwords_and_takes_the_fixed_address() {
        let files = planned(
            "role = \"server\"\n[wifi]\nssid = 'a\"b'\npassword = 'pass\"word'\ncountry = \"de\"\n\
             [network]\naddress = \"10.0.0.5/24\"\ngateway = \"10.0.0.1\"\ndns = [\"10.0.0.1\"]\n",
        );
        let wifi = content(&files, "run/bramble/wpa_supplicant.conf");
        assert!(wifi.contains("country=DE\n") && wifi.contains("\tssid=612262\n"), "{wifi}");
        assert!(wifi.contains("\tpsk=\"pass\"word\"\n"), "{wifi}");
        let network = content(&files, "run/systemd/network/05-bramble-wifi.network");
        assert!(network.contains("Address=10.0.0.5/24\nGateway=10.0.0.1\nDNS=10.0.0.1\n"), "{network}");
        assert_eq!(content(&files, "run/bramble/server.yaml"), "{}\n");
        let managed = |file: &Planned| MANAGED.contains(&file.path) || file.path.starts_with("etc/");
        let always = ["run/bramble/role", "run/bramble/agent.yaml"];
        assert!(files.iter().all(|file| managed(file) || always.contains(&file.path)));
    }
}
