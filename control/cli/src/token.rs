//! `bramble token`: what lets nodes in. Works on the data folder, so it needs no running server.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result as AnyResult};
use control_pki::{TokenInfo, TokenLimits, Tokens};
use control_wire::JoinToken;
use control_wire::durable::{self, MODE_PRIVATE};

use crate::addresses;
use crate::arguments::Token;
use crate::data_dir::DataDir;

/// The token with which `bramble up` lets its own agent in lasts this long.
const OWN_SECONDS: u64 = 600;
/// A card may lie in a drawer for a while; wiping its flash is not certain, so it lets one machine in and no other.
const CARD_LIMITS: TokenLimits = limits(30 * 86400, 1);
/// A token in a file is replaced when less than this is left of it.
const KEPT_SECONDS_MIN: u64 = 3600;

/// Runs one verb.
pub fn run(data: &DataDir, verb: &Token) -> AnyResult<()> {
    let tokens = Tokens::open(&data.pki())?;
    match verb {
        Token::Create { ttl, uses, address, card, to } => {
            let limits = if *card { CARD_LIMITS } else { limits(ttl.as_secs(), *uses) };
            match to {
                Some(path) => {
                    let addresses = at_port_of(data, own_or(address, await_addresses)?)?;
                    if !works_still(&tokens, path, &addresses)? {
                        let token = tokens.create(addresses, limits)?;
                        durable::replace(path, format!("{token}\n").as_bytes(), MODE_PRIVATE)?;
                    }
                }
                None => {
                    let addresses = at_port_of(data, own_or(address, addresses::of_this_machine)?)?;
                    let token = tokens.create(addresses, limits)?;
                    if *card {
                        println!("In bramble.toml on the card:\n\n  join = \"{token}\"\n\n{token}");
                    } else {
                        println!("On the new node, as root:\n\n  bramble-agent --join {token}\n\n{token}");
                    }
                }
            }
        }
        Token::List => {
            println!("{:<10} {:<10} USES", "ID", "EXPIRES");
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            for token in tokens.list()? {
                let expires = if token.revoked { Some(0) } else { token.expires };
                let ended = if token.revoked { "revoked" } else { "expired" };
                let expires = expires.map_or("never".to_owned(), |end| match end.saturating_sub(now) {
                    0 => ended.to_owned(),
                    left if left < 3600 => format!("{}m", left.div_ceil(60)),
                    left => format!("{}h", left / 3600),
                });
                let uses = token.uses_max.map_or(token.uses.to_string(), |max| format!("{}/{max}", token.uses));
                println!("{:<10} {expires:<10} {uses}", token.id);
            }
        }
        Token::Revoke { id } => {
            tokens.revoke(id)?;
            println!("token {id} lets nobody in any more");
        }
    }
    Ok(())
}

const fn limits(seconds: u64, uses: u32) -> TokenLimits {
    TokenLimits { seconds: Some(seconds), uses: Some(uses) }
}

fn own_or(given: &[String], own: impl Fn() -> AnyResult<Vec<String>>) -> AnyResult<Vec<String>> {
    if given.is_empty() { own() } else { Ok(given.to_vec()) }
}

/// `HOST:PORT` of each, with the port of this data folder's server.
fn at_port_of(data: &DataDir, hosts: Vec<String>) -> AnyResult<Vec<String>> {
    let port = server_port(data)?;
    Ok(hosts.iter().map(|host| addresses::with_port(host, port)).collect())
}

/// A machine that has just started may have no address yet.
fn await_addresses() -> AnyResult<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(async {
        let mut machine = control_wire::addresses::follow()?;
        let found = machine.wait_for(|addresses| !addresses.is_empty()).await.map_err(std::io::Error::other)?;
        Ok::<_, std::io::Error>(found.iter().map(ToString::to_string).collect())
    });
    found.context("cannot follow this machine's addresses")
}

/// Whether the file holds a token that lets nodes in for a while, and names at least one of these addresses.
fn works_still(tokens: &Tokens, path: &Path, addresses: &[String]) -> AnyResult<bool> {
    let Some(text) = durable::read(path)? else { return Ok(false) };
    let Ok(token) = String::from_utf8_lossy(&text).parse::<JoinToken>() else { return Ok(false) };
    if !token.addresses.iter().any(|named| addresses.contains(named)) {
        return Ok(false);
    }
    let soon = control_wire::trust::now_seconds() + KEPT_SECONDS_MIN;
    let works = |one: &TokenInfo| {
        !one.revoked && one.expires.is_none_or(|end| end > soon) && one.uses_max.is_none_or(|max| one.uses < max)
    };
    Ok(tokens.list()?.iter().any(|one| one.id == token.id && works(one)))
}

/// A token for this machine's own agent, which reaches the server on loopback.
pub fn for_this_machine(data: &DataDir) -> AnyResult<String> {
    let tokens = Tokens::open(&data.pki())?;
    let token = tokens.create(own_address(data)?, TokenLimits { seconds: Some(OWN_SECONDS), uses: Some(1) })?;
    Ok(token.to_string())
}

/// Leaves this machine's agent a token, unless it has one or has joined. It does not expire: the file lies beside the
/// CA's key, which is worth more, and the agent may be started much later.
pub fn leave_for_this_machine(data: &DataDir) -> AnyResult<()> {
    if has_identity(data) || data.join_file().exists() {
        return Ok(());
    }
    let limits = TokenLimits { seconds: None, uses: Some(1) };
    let token = Tokens::open(&data.pki())?.create(own_address(data)?, limits)?;
    Ok(durable::replace(&data.join_file(), format!("{token}\n").as_bytes(), MODE_PRIVATE)?)
}

fn own_address(data: &DataDir) -> AnyResult<Vec<String>> {
    Ok(vec![addresses::with_port("127.0.0.1", server_port(data)?)])
}

/// Whether this machine's agent has joined already.
pub fn has_identity(data: &DataDir) -> bool {
    control_wire::Identity::load(&data.agent()).is_ok_and(|identity| identity.is_some())
}

/// The port of the server of this data folder, tcp and udp, as its kubeconfig names it.
fn server_port(data: &DataDir) -> AnyResult<u16> {
    let path = data.kubeconfig();
    let text = fs::read_to_string(&path).with_context(|| {
        format!("cannot read {}: start the server first, with `bramble up` or `bramble server`", path.display())
    })?;
    let config: serde_json::Value = serde_saphyr::from_str(&text).context("not a kubeconfig")?;
    let server = config["clusters"][0]["cluster"]["server"].as_str().context("the kubeconfig names no server")?;
    let port = server.rsplit(':').next().and_then(|port| port.trim_end_matches('/').parse().ok());
    port.with_context(|| format!("the kubeconfig's server {server} has no port"))
}

/// Reads `30m`, `24h`, `30d`, `45s`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as 30m, 24h or 30d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86400,
        _ => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    if count == 0 {
        return Err(format!("{text:?} is over before it began"));
    }
    count.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("30d"), Ok(Duration::from_secs(30 * 86400)));
        for wrong in ["", "d", "5", "-1h", "0h", "1.5h", "99999999999999999999d", "1ä"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
