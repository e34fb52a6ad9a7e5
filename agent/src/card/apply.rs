//! `card apply`: from the settings to a machine that the other units find ready.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result};
use control_card::{Settings, parse, wipe};
use control_wire::durable::{self, MODE_PRIVATE};
use control_wire::{Identity, JoinToken, NodeKey, trust};

use super::firmware::{self, Writable};
use super::place::Place;
use super::plan;
use crate::clock::MachineClock;
use crate::config;

/// The last good `bramble.toml`, without its token.
const SETTINGS_FILE: &str = "bramble.toml";
const HOSTNAME_FILE: &str = "hostname";

pub fn run(place: &Place) -> Result<()> {
    let kept = place.kept();
    if place.is_machine() {
        MachineClock::new(kept.clone()).restore();
    }
    durable::private_folder(&kept)?;
    let key = NodeKey::load_or_create(&place.identity()).context("cannot have the node's key")?;
    let mut problems = Vec::new();
    let settings = settings(place, &mut problems);
    let settings = settings.or_else(|| remembered(&kept)).unwrap_or_default();
    if let Err(error) = keep_token(place, &settings, &mut problems) {
        tracing::error!(error = format!("{error:#}"), "the join token is not kept");
    }
    let hostname = hostname(&kept, &settings, &key)?;
    write(place, &settings, &hostname)?;
    if place.is_machine() {
        nix::unistd::sethostname(&hostname).context("cannot set the machine's name")?;
    }
    // Last: a partition that cannot be written to must not keep the machine from running.
    if let Err(error) = tell(place, &problems) {
        tracing::warn!(error = format!("{error:#}"), "bramble-error.txt is not up to date");
    }
    Ok(())
}

/// The file on FAT, if it is good; a good one is remembered.
fn settings(place: &Place, problems: &mut Vec<String>) -> Option<Settings> {
    let file = match firmware::read(&place.settings()) {
        Ok(Some(file)) => file,
        Ok(None) => {
            problems.push(missing(place));
            return None;
        }
        Err(error) => {
            problems.push(format!("bramble.toml cannot be read: {error:#}"));
            return None;
        }
    };
    let settings = match parse(&file) {
        Ok(settings) => settings,
        Err(error) => {
            problems.extend(error.iter().map(ToString::to_string));
            return None;
        }
    };
    if let Err(error) = config::check(settings.agent.clone()) {
        problems.push(format!("[agent]: {error}"));
        return None;
    }
    let without_token = wipe(&file, "the join token was here").pop().unwrap_or(file);
    if let Err(error) = remember(&place.kept().join(SETTINGS_FILE), &without_token) {
        tracing::error!(error = format!("{error:#}"), "the settings are not remembered");
    }
    Some(settings)
}

fn missing(place: &Place) -> String {
    // What Windows makes of it where it hides the ends of names.
    let doubled = place.firmware().join("bramble.toml.txt").exists();
    let hint = if doubled { ": there is bramble.toml.txt, which must be renamed" } else { "" };
    format!("there is no file bramble.toml here{hint}")
}

fn remembered(kept: &Path) -> Option<Settings> {
    parse(&durable::read(&kept.join(SETTINGS_FILE)).ok()??).ok()
}

/// Writes only what changed: each boot of an old card writes nothing.
fn remember(path: &Path, content: &[u8]) -> Result<()> {
    if durable::read(path)?.as_deref() != Some(content) {
        durable::replace(path, content, MODE_PRIVATE)?;
    }
    Ok(())
}

/// Gives the agent the token, before anything could happen to the file that it came in.
fn keep_token(place: &Place, settings: &Settings, problems: &mut Vec<String>) -> Result<()> {
    let Some(text) = &settings.join else { return Ok(()) };
    let token: JoinToken = match text.0.parse() {
        Ok(token) => token,
        Err(error) => {
            problems.push(format!("join: {error}"));
            return Ok(());
        }
    };
    match Identity::load(&place.identity()).context("cannot read the node's identity")? {
        Some(identity) if trust::key_hash(&identity.ca) != Some(token.ca_hash) => problems.push(format!(
            "join: this machine is in cluster {} already, and the token is for cluster {}. To move it, write the card \
             anew, or run `bramble-agent reset` on the machine",
            identity.cluster, token.cluster
        )),
        Some(_) => {}
        None => remember(&place.join_file(), format!("{token}\n").as_bytes())?,
    }
    Ok(())
}

/// The name that is set, else that of an earlier boot, else one of the key.
fn hostname(kept: &Path, settings: &Settings, key: &NodeKey) -> Result<String> {
    if let Some(name) = &settings.hostname {
        return Ok(name.clone());
    }
    let path = kept.join(HOSTNAME_FILE);
    let known = durable::read(&path)?.and_then(|name| String::from_utf8(name).ok());
    if let Some(name) = known.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()) {
        return Ok(name);
    }
    let name = format!("bramble-{}", &key.short()[..4]);
    remember(&path, name.as_bytes())?;
    Ok(name)
}

fn write(place: &Place, settings: &Settings, hostname: &str) -> Result<()> {
    // Entered by all: ssh reads keys here as a user of its own.
    fs::DirBuilder::new().recursive(true).mode(0o755).create(place.run())?;
    let planned = plan::files(settings, hostname);
    for file in &planned {
        let path = place.at(file.path);
        let written = || -> std::io::Result<()> {
            let draft = path.with_added_extension("draft");
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            // It is memory: nothing to sync. Closed to others before it has any content.
            fs::write(&draft, "")?;
            fs::set_permissions(&draft, fs::Permissions::from_mode(file.mode))?;
            fs::write(&draft, &file.content)?;
            fs::rename(&draft, &path)
        };
        written().with_context(|| format!("cannot write {}", path.display()))?;
    }
    for path in plan::MANAGED.iter().filter(|path| planned.iter().all(|file| file.path != **path)) {
        let _ = fs::remove_file(place.at(path));
    }
    link(place, "agent.yaml")?;
    link(place, "server.yaml")
}

/// The units read /etc/bramble, as on every other machine.
fn link(place: &Place, name: &str) -> Result<()> {
    let folder = place.at("etc/bramble");
    let link = folder.join(name);
    let target = Path::new("/run/bramble").join(name);
    if fs::read_link(&link).is_ok_and(|found| found == target) {
        return Ok(());
    }
    fs::create_dir_all(&folder)?;
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(&target, &link).with_context(|| format!("cannot link {}", link.display()))
}

/// Writes what is wrong beside the file, for the computer that the card goes back to; or removes it.
fn tell(place: &Place, problems: &[String]) -> Result<()> {
    let path = place.error();
    let told = firmware::read(&path)?;
    if problems.is_empty() {
        return if told.is_some() { Writable::open(&place.firmware())?.remove(&path) } else { Ok(()) };
    }
    let mut text = String::from("This machine cannot use its bramble.toml as it is:\n\n");
    for problem in problems {
        text.push_str(&format!("  {problem}\n"));
        tracing::error!(problem, "bramble.toml");
    }
    text.push_str("\nUntil that is mended, it goes on with the last settings that were good, if there were any.\n");
    text.push_str("Mend bramble.toml with a plain text editor and put the card back in; this file goes by itself.\n");
    let text = text.replace('\n', "\r\n");
    if told.as_deref() == Some(text.as_bytes()) {
        return Ok(());
    }
    Writable::open(&place.firmware())?.replace(&path, &text)
}
