//! `bramble status`: the cluster at a glance, what is wrong with it, and what to do about that.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde_json::Value;

use crate::access::Access;
use crate::client::{Client, block_on};
use crate::node::{address, items, status, text};
use crate::table::{self, Cell, Tone, paint, plain};

/// A node that was silent for so long is worth a word; it reports every 10 s.
const SILENT_SECONDS: u64 = 30;
const SLOW_MICROS: u64 = 200_000;
const DAY_SECONDS: u64 = 86_400;
/// A certificate that ends so soon should have been renewed.
const END_DAYS_MIN: u64 = 30;

/// Everything that was asked of the server.
struct Seen {
    server: Value,
    nodes: Value,
    links: Value,
    pending: Value,
    now: u64,
}

/// Prints; an error where something is wrong that needs a person, so that scripts can tell.
pub fn run(data_dir: &Path) -> Result<()> {
    block_on(async {
        let mut client = Client::connect(Access::find(data_dir)?).await?;
        let seen = Seen {
            server: client.get("/bramble/v1/server").await?,
            nodes: client.get("/api/v1/nodes").await?,
            links: client.get("/bramble/v1/nodes").await?,
            pending: client.get("/bramble/v1/pending").await?,
            now: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        };
        let (colours, problems) = (table::colours(), problems(&seen));
        print!("{}", render(&seen, colours));
        if problems.is_empty() {
            println!("\n{}", paint("Nothing is wrong.", Tone::Good, colours));
        }
        for (what, help) in &problems {
            println!("\n{}\n  {help}", paint(what, Tone::Bad, colours));
        }
        match problems.len() {
            0 => Ok(()),
            1 => anyhow::bail!("one thing needs a look"),
            count => anyhow::bail!("{count} things need a look"),
        }
    })
}

fn days_left(ends: &Value, now: u64) -> Option<u64> {
    ends.as_u64().map(|ends| ends.saturating_sub(now) / DAY_SECONDS)
}

fn render(seen: &Seen, colours: bool) -> String {
    let server = &seen.server;
    let certificates = server["certificates"].as_array().into_iter().flatten();
    let certificates: Vec<String> = certificates
        .filter_map(|one| Some(format!("{} {} days", text(&one["name"]), days_left(&one["ends"], seen.now)?)))
        .collect();
    let servers: Vec<&str> = server["servers"].as_array().into_iter().flatten().map(text).collect();
    let mut out = format!(
        "Cluster {}   CA {}   server {}\nNodes reach it at {}\nCertificates end in: {}\n\n",
        text(&server["cluster"]),
        text(&server["fingerprint"]),
        text(&server["version"]),
        if servers.is_empty() { "no address but this machine's own".to_owned() } else { servers.join(", ") },
        certificates.join(", "),
    );
    let rows: Vec<Vec<Cell>> = items(&seen.nodes).iter().map(|node| row(node, seen)).collect();
    out +=
        &table::render(&["NODE", "STATUS", "ADDRESS", "HEARD", "ROUND TRIP", "VERSION", "CERTIFICATE"], &rows, colours);
    out
}

fn row(node: &Value, seen: &Seen) -> Vec<Cell> {
    let name = text(&node["metadata"]["name"]);
    let link = link(name, seen);
    let connected = link["connected"] == true;
    let heard = match link["heardSecondsAgo"].as_u64() {
        Some(seconds) if connected && seconds <= SILENT_SECONDS => plain(format!("{seconds} s ago")),
        Some(seconds) if connected => (format!("{seconds} s ago"), Tone::Doubtful),
        Some(seconds) => (format!("{seconds} s ago, no link"), Tone::Bad),
        None => ("no link".to_owned(), Tone::Bad),
    };
    let trip = link["roundTripMicros"].as_u64().map_or(String::new(), |micros| {
        // Two digits are enough to tell a wire from a bad radio.
        format!("{}.{} ms", micros / 1000, micros % 1000 / 100)
    });
    let ends = days_left(&link["certificateEnds"], seen.now).map_or(String::new(), |days| format!("{days} days"));
    let version = text(&link["agentVersion"]);
    vec![plain(name), status(node), plain(address(node)), heard, plain(trip), plain(version), plain(ends)]
}

fn link<'a>(name: &str, seen: &'a Seen) -> &'a Value {
    items(&seen.links).iter().find(|link| text(&link["name"]) == name).unwrap_or(&Value::Null)
}

/// What is wrong, and what helps.
fn problems(seen: &Seen) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut tell = |what: String, help: String| found.push((what, help));
    for node in items(&seen.nodes) {
        let name = text(&node["metadata"]["name"]);
        let link = link(name, seen);
        if link["connected"] != true {
            let help = format!(
                "Is it switched on, and does its network reach {}? `bramble-agent doctor` on it says more; \
                 `bramble node remove {name} --force` gives it up.",
                seen.server["servers"][0].as_str().unwrap_or("this server")
            );
            tell(format!("{name} has no link to this server."), help);
        } else if status(node).0.starts_with("NotReady") {
            tell(
                format!("{name} is connected but not ready."),
                format!("`kubectl describe node {name}` shows its conditions."),
            );
        }
        if link["roundTripMicros"].as_u64().is_some_and(|micros| micros > SLOW_MICROS) {
            tell(
                format!("{name} answers slowly."),
                "A weak wifi signal does this: move it, or give it a cable.".to_owned(),
            );
        }
        let version = text(&link["agentVersion"]);
        if !version.is_empty() && version != text(&seen.server["version"]) {
            let help = format!("Bring it to {}.", text(&seen.server["version"]));
            tell(format!("{name} runs version {version}."), help);
        }
        if node["spec"]["unschedulable"] == true {
            tell(format!("{name} takes no new pods."), format!("`kubectl uncordon {name}` lets them come again."));
        }
        if days_left(&link["certificateEnds"], seen.now).is_some_and(|days| days < END_DAYS_MIN) {
            let help = "It should have been renewed: its log says why not. Restarting its agent asks again.".to_owned();
            tell(format!("{name}'s certificate ends soon."), help);
        }
    }
    for machine in items(&seen.pending) {
        let (name, fingerprint) = (text(&machine["name"]), text(&machine["fingerprint"]));
        let help = format!("If its console shows {fingerprint}: `bramble node approve {name} {fingerprint}`.");
        tell(format!("{name} at {} waits to be let in.", text(&machine["address"])), help);
    }
    for certificate in seen.server["certificates"].as_array().into_iter().flatten() {
        if days_left(&certificate["ends"], seen.now).is_some_and(|days| days < END_DAYS_MIN) {
            let help = "It should have been renewed: the server's log says why not.".to_owned();
            tell(format!("The certificate {} ends soon.", text(&certificate["name"])), help);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen() -> Seen {
        let node = |name: &str, ready: &str| {
            json!({"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": ready}],
                "addresses": [{"type": "InternalIP", "address": "10.0.0.2"}]}})
        };
        Seen {
            server: json!({"version": "1", "cluster": "c0ffee", "fingerprint": "a-b-c", "servers": ["10.0.0.1:6443"],
                "certificates": [{"name": "server", "ends": 400 * DAY_SECONDS}]}),
            nodes: json!({"items": [node("pi-1", "True"), node("pi-2", "Unknown")]}),
            links: json!({"items": [
                {"name": "pi-1", "connected": true, "heardSecondsAgo": 3, "roundTripMicros": 1234, "agentVersion": "1",
                    "certificateEnds": 300 * DAY_SECONDS},
                {"name": "pi-2", "connected": false, "heardSecondsAgo": 90}]}),
            pending: json!({"items": [{"name": "pi-3", "fingerprint": "d-e-f", "address": "10.0.0.9"}]}),
            now: 0,
        }
    }

    #[test]
    fn a_glance_shows_links_and_what_is_wrong_says_what_to_do() {
        let text = render(&seen(), false);
        assert!(text.contains("pi-1   Ready      10.0.0.2   3 s ago"), "{text}");
        assert!(text.contains("1.2 ms") && text.contains("300 days") && text.contains("90 s ago, no link"), "{text}");
        let told: Vec<String> = problems(&seen()).into_iter().map(|(what, help)| format!("{what} {help}")).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("pi-2 has no link") && told[0].contains("bramble node remove pi-2 --force"));
        assert!(told[1].contains("bramble node approve pi-3 d-e-f"));
    }
}
