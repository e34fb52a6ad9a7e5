//! The token goes from `bramble.toml` once the machine has joined, and stays until then.

use anyhow::{Context, Result};
use control_card::{holds_token, parse, wipe};
use control_wire::{Identity, JoinToken, trust};

use super::firmware::{self, Writable};
use super::place::Place;

pub fn run(place: &Place) -> Result<()> {
    let identity = Identity::load(&place.identity()).context("cannot read the node's identity")?;
    let Some(identity) = identity else { return Ok(()) };
    let Some(file) = firmware::read(&place.settings())? else { return Ok(()) };
    if !holds_token(&file) || is_for_another(&file, &identity) {
        return Ok(());
    }
    let today = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let note = format!("joined cluster {} on {today}", identity.cluster);
    Writable::open(&place.firmware())?.overwrite(&place.settings(), &wipe(&file, &note))?;
    tracing::info!("the join token is wiped from bramble.toml");
    Ok(())
}

/// Whether somebody wrote another cluster's token into the file, which `apply` complains about.
pub fn is_for_another(file: &[u8], identity: &Identity) -> bool {
    let token = parse(file).ok().and_then(|settings| settings.join?.0.parse::<JoinToken>().ok());
    token.is_some_and(|token| trust::key_hash(&identity.ca) != Some(token.ca_hash))
}
