//! `bramble token`: what lets nodes in. Works on the data folder, so it needs no running server.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result as AnyResult};
use control_pki::{TokenLimits, Tokens};

use crate::addresses;
use crate::arguments::Token;
use crate::data_dir::DataDir;

/// The token with which `bramble up` lets its own agent in lasts this long.
const OWN_SECONDS: u64 = 600;

/// Runs one verb.
pub fn run(data: &DataDir, verb: &Token) -> AnyResult<()> {
    let tokens = Tokens::open(&data.pki())?;
    match verb {
        Token::Create { ttl, uses, address } => {
            let port = server_port(data)?;
            let addresses = if address.is_empty() { addresses::of_this_machine()? } else { address.clone() };
            let addresses = addresses.iter().map(|address| addresses::with_port(address, port)).collect();
            let limits = TokenLimits { seconds: Some(ttl.as_secs()), uses: Some(*uses) };
            let token = tokens.create(addresses, limits)?;
            println!("On the new node, as root:\n\n  bramble-agent --join {token}\n\n{token}");
        }
        Token::List => {
            println!("{:<10} {:<10} USES", "ID", "EXPIRES");
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            for token in tokens.list()? {
                let expires = token.expires.map_or("never".to_owned(), |end| match end.saturating_sub(now) {
                    0 => "expired".to_owned(),
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

/// A token for this machine's own agent, which reaches the server on loopback.
pub fn for_this_machine(data: &DataDir) -> AnyResult<String> {
    let tokens = Tokens::open(&data.pki())?;
    let addresses = vec![addresses::with_port("127.0.0.1", server_port(data)?)];
    let token = tokens.create(addresses, TokenLimits { seconds: Some(OWN_SECONDS), uses: Some(1) })?;
    Ok(token.to_string())
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
