//! How a machine gets its identity: by a token, or by an administrator's word while it waits.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use control_wire::discovery::{self, Found};
use control_wire::durable::{self, MODE_PRIVATE};
use control_wire::trust::{self, Anchor};
use control_wire::{
    Applicant, ConnectError, IDENTITY_FILE, Identity, JoinError, JoinToken, Link, NodeKey, Pending, fingerprint,
};

use crate::adapters::chain;
use crate::config::Config;
use crate::membership::jitter;
use crate::state::{Phase, State};

const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Answers on a LAN come within milliseconds, over a bad radio within a second.
const SEARCH: Duration = Duration::from_secs(2);
/// Holds the hash of the CA that a machine without a token saw first.
const SEEN_FILE: &str = "seen.ca";

/// The identity of an earlier join, else a new one; a server that is out of reach is waited for.
pub async fn identity(config: &Config, key: &NodeKey) -> Result<Identity> {
    let dir = config.layout.identity();
    if let Some(identity) = kept(&dir)? {
        forget_token(config)?;
        return Ok(identity);
    }
    let identity = match token(config)? {
        Some(first) => by_token_or_approval(first, config, key).await?,
        None if !config.servers.is_empty() || config.discovery => by_approval(config, key, None).await?,
        None => bail!(
            "this node is in no cluster yet: start it with --join TOKEN (`bramble token create` prints one), or with \
             --server HOST:PORT and approve it there"
        ),
    };
    identity.save(&dir).context("cannot keep the node's identity")?;
    forget_token(config)?;
    tracing::info!(node = config.node_name, cluster = identity.cluster, "joined");
    Ok(identity)
}

/// What an earlier join left. Where that makes no sense the node is still known by its key, and asks to be let in again;
/// a key that makes no sense is no other node's to replace.
fn kept(dir: &Path) -> Result<Option<Identity>> {
    let error = match Identity::load(dir) {
        Ok(identity) => return Ok(identity),
        Err(error) => error,
    };
    let Some(path) = error.damaged().filter(|path| path.ends_with(IDENTITY_FILE)) else {
        return Err(error).context("cannot read the node's identity");
    };
    tracing::warn!(error = chain(&error), "the node's identity is set aside: it has to join again");
    durable::set_aside(path)?;
    Ok(None)
}

/// The token given by hand, else the one left in the data folder.
fn token(config: &Config) -> Result<Option<JoinToken>> {
    if let Some(token) = &config.join {
        return Ok(Some(token.parse().context("the join token cannot be read")?));
    }
    let path = config.layout.join_file();
    let Some(bytes) = durable::read(&path)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    Ok(Some(text.trim().parse().with_context(|| format!("the join token in {} cannot be read", path.display()))?))
}

/// A token is a secret: it does not stay where it is of no use any more.
fn forget_token(config: &Config) -> Result<()> {
    let path = config.layout.join_file();
    if path.exists() {
        durable::remove(&path)?;
    }
    Ok(())
}

/// A token that was left for this machine may have been used up or be too old, with nobody there to see it: then the
/// machine waits to be let into the same cluster. One given by hand is an error of who gave it.
async fn by_token_or_approval(first: JoinToken, config: &Config, key: &NodeKey) -> Result<Identity> {
    let mut token = first;
    let error = match by_token(&mut token, config, key).await {
        Ok(identity) => return Ok(identity),
        Err(error) => error,
    };
    let refused = error.downcast_ref::<JoinError>().filter(|error| matches!(error, JoinError::Refused { .. }));
    let Some(why) = refused.filter(|_| config.join.is_none()).map(|error| chain(error)) else { return Err(error) };
    tracing::warn!(error = why, "the token does not let this node in");
    let cluster = Some(trust::hex(&token.ca_hash));
    let config = Config { servers: token.addresses, cluster, ..config.clone() };
    by_approval(&config, key, Some(why)).await
}

async fn by_token(token: &mut JoinToken, config: &Config, key: &NodeKey) -> Result<Identity> {
    let mut pause = PAUSE_MIN;
    let node = config.node_name.clone();
    config.teller.tell(|state| {
        *state = State {
            phase: Phase::Joining,
            node,
            fingerprint: fingerprint(&key.hash()),
            cluster: Some(token.cluster.clone()),
            problem: None,
        };
    });
    loop {
        match Link::join(token, &config.node_name, key).await {
            Ok((identity, server_time_ms)) => {
                if let Some(clock) = &config.clock {
                    clock.follow(server_time_ms);
                }
                return Ok(identity);
            }
            Err(error) if error.passes() => {
                tracing::warn!(error = chain(&error), "cannot join yet");
                config.teller.tell(|state| state.problem = Some(chain(&error)));
                tokio::time::sleep(pause.mul_f64(jitter())).await;
                pause = (pause * 2).min(PAUSE_MAX);
                // A server on this machine may have left another one meanwhile.
                if let Some(left) = self::token(config)? {
                    *token = left;
                }
                search(token, config).await;
            }
            Err(error) => return Err(error).context("cannot join"),
        }
    }
}

/// Looks on the LAN for the token's cluster, which may have moved since the token was made. Whoever answers has to show
/// the CA that the token names.
async fn search(token: &mut JoinToken, config: &Config) {
    if !config.discovery {
        return;
    }
    let found = discovery::search(SEARCH).await.unwrap_or_default();
    let Some(ours) = found.into_iter().find(|one| one.ca_hash == token.ca_hash) else { return };
    for address in ours.addresses.into_iter().rev().filter(|one| is_new(one, &token.addresses)).collect::<Vec<_>>() {
        token.addresses.insert(0, address);
    }
}

fn is_new(address: &String, known: &[String]) -> bool {
    !known.contains(address)
}

/// Waits for a person; asks again where the connection is lost. A refusal may pass too: a full room, say.
async fn by_approval(config: &Config, key: &NodeKey, why: Option<String>) -> Result<Identity> {
    let seen_path = config.layout.identity().join(SEEN_FILE);
    let mut pause = PAUSE_MIN;
    let mut told = String::new();
    loop {
        let problem = match ask(config, key, &seen_path).await {
            Ok(mut pending) => {
                pause = PAUSE_MIN;
                let cluster = Some(trust::cluster(&pending.ca_hash()));
                tell_waiting(config, key, cluster, why.clone());
                let words = instructions(config, key, &pending.ca_hash());
                // Once for each cluster, not at every reconnect.
                if told != words {
                    eprintln!("{words}");
                    told = words;
                }
                match pending.approved().await {
                    Ok((identity, server_time_ms)) => {
                        if let Some(clock) = &config.clock {
                            clock.follow(server_time_ms);
                        }
                        return Ok(identity);
                    }
                    Err(error) => chain(&error),
                }
            }
            Err(problem) => format!("{problem:#}"),
        };
        tracing::warn!(error = problem, "not let in yet");
        tell_waiting(config, key, None, Some(problem));
        tokio::time::sleep(pause.mul_f64(jitter())).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

fn tell_waiting(config: &Config, key: &NodeKey, cluster: Option<String>, problem: Option<String>) {
    let (node, fingerprint) = (config.node_name.clone(), fingerprint(&key.hash()));
    config.teller.tell(|state| *state = State { phase: Phase::Waiting, node, fingerprint, cluster, problem });
}

/// A place in the waiting room of the one cluster that is meant.
async fn ask(config: &Config, key: &NodeKey, seen_path: &Path) -> Result<Pending> {
    let servers = servers(config).await?;
    let seen = durable::read(seen_path)?.and_then(|text| parse_hash(&text));
    let mut problem = anyhow::anyhow!("no server was found");
    for address in &servers {
        let anchor = match (&config.cluster, seen) {
            (Some(cluster), _) => Anchor::Cluster(cluster.clone()),
            (None, Some(hash)) => Anchor::Hash(hash),
            (None, None) => Anchor::First,
        };
        let applicant = Applicant {
            node_name: config.node_name.clone(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            platform: format!("linux/{}", std::env::consts::ARCH),
            key: key.clone(),
        };
        match Pending::ask(address, anchor, applicant).await {
            Ok(pending) => {
                if seen != Some(pending.ca_hash()) {
                    let text = trust::hex(&pending.ca_hash());
                    durable::private_folder(&config.layout.identity())?;
                    durable::replace(seen_path, text.as_bytes(), MODE_PRIVATE)?;
                }
                return Ok(pending);
            }
            Err(JoinError::Connect { source: ConnectError::WrongCluster { .. }, .. }) => {
                problem = wrong_cluster(address, config.cluster.as_deref(), seen);
            }
            Err(error) => problem = anyhow::Error::new(error),
        }
    }
    Err(problem)
}

fn wrong_cluster(address: &str, wanted: Option<&str>, seen: Option<[u8; 32]>) -> anyhow::Error {
    match (wanted, seen) {
        (Some(cluster), _) => anyhow::anyhow!("the server at {address} is not of cluster {cluster}"),
        (None, Some(seen)) => anyhow::anyhow!(
            "the server at {address} is of another cluster than the one that this machine saw first ({}): \
             name the right one with --cluster ID, or forget the first with `bramble-agent reset`",
            trust::cluster(&seen)
        ),
        (None, None) => anyhow::anyhow!("the server at {address} does not show a cluster's certificate"),
    }
}

/// Those given by hand, else those of the one cluster that answers on the LAN.
async fn servers(config: &Config) -> Result<Vec<String>> {
    if !config.servers.is_empty() {
        return Ok(config.servers.clone());
    }
    let found = discovery::search(SEARCH).await.context("cannot look for a cluster on this LAN")?;
    let wanted = |one: &&Found| match &config.cluster {
        Some(cluster) => trust::hex(&one.ca_hash).starts_with(cluster.as_str()),
        None => true,
    };
    let fitting: Vec<&Found> = found.iter().filter(wanted).collect();
    match fitting.as_slice() {
        [] => bail!("no cluster answers on this LAN: give --server HOST:PORT or --join TOKEN"),
        [one] => Ok(one.addresses.clone()),
        several => {
            let names: Vec<String> = several.iter().map(|one| trust::cluster(&one.ca_hash)).collect();
            bail!("several clusters answer on this LAN ({}): name the right one with --cluster ID", names.join(", "))
        }
    }
}

fn instructions(config: &Config, key: &NodeKey, ca_hash: &[u8; 32]) -> String {
    let (node, own) = (&config.node_name, fingerprint(&key.hash()));
    format!(
        "\nThis machine waits to be let into a cluster.\n\n  \
         its name          {node}\n  its fingerprint   {own}\n  the cluster       {}\n  the cluster's CA  {}\n\n\
         Where the cluster is administered, compare the fingerprints and let it in:\n\n  \
         bramble node approve {node} {own}\n",
        trust::cluster(ca_hash),
        fingerprint(ca_hash),
    )
}

fn parse_hash(text: &[u8]) -> Option<[u8; 32]> {
    let text = std::str::from_utf8(text).ok()?.trim();
    trust::parse_hash(text)
}
