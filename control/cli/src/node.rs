//! `bramble node`: machines that wait to be let in, and nodes that are to go.

use std::path::Path;

use anyhow::{Context, Result};
use hyper::Method;
use serde_json::{Value, json};

use crate::access::Access;
use crate::arguments::{Drain, Node};
use crate::client::{Client, block_on};
use crate::drain;
use crate::table::{self, Cell, Tone, plain};

/// Runs one verb.
pub fn run(data_dir: &Path, verb: &Node) -> Result<()> {
    block_on(async {
        let mut client = Client::connect(Access::find(data_dir)?).await?;
        match verb {
            Node::List => list(&mut client).await,
            Node::Approve { name, fingerprint } => approve(&mut client, name, fingerprint.as_deref()).await,
            Node::Drain(options) => drain::run(&mut client, options).await,
            Node::Remove { options, force } => remove(&mut client, options, *force).await,
        }
    })
}

async fn list(client: &mut Client) -> Result<()> {
    let nodes = client.get("/api/v1/nodes").await?;
    let links = client.get("/bramble/v1/nodes").await?;
    let pending = client.get("/bramble/v1/pending").await?;
    print!("{}", render(&nodes, &links, &pending, table::colours()));
    if let Some(first) = items(&pending).first() {
        let (name, fingerprint) = (text(&first["name"]), text(&first["fingerprint"]));
        println!(
            "\nCompare a pending machine's fingerprint with the one on its console, then let it in:\n\n  bramble node approve {name} {fingerprint}"
        );
    }
    Ok(())
}

fn render(nodes: &Value, links: &Value, pending: &Value, colours: bool) -> String {
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for node in items(nodes) {
        let name = text(&node["metadata"]["name"]);
        let link = items(links).iter().find(|link| text(&link["name"]) == name);
        let (status, tone) = status(node);
        let fingerprint = link.map_or("", |link| text(&link["fingerprint"]));
        rows.push(vec![plain(name), (status, tone), plain(address(node)), plain(fingerprint)]);
    }
    for machine in items(pending) {
        let word = |field: &str| plain(text(&machine[field]));
        rows.push(vec![word("name"), ("Pending".to_owned(), Tone::Doubtful), word("address"), word("fingerprint")]);
    }
    table::render(&["NAME", "STATUS", "ADDRESS", "FINGERPRINT"], &rows, colours)
}

async fn approve(client: &mut Client, name: &str, fingerprint: Option<&str>) -> Result<()> {
    let (name, told) = (path_word(name)?, path_word(fingerprint.unwrap_or_default())?);
    let path = format!("/bramble/v1/pending/{name}/approve?fingerprint={told}");
    let answer = client.send(Method::POST, &path, None).await?;
    println!("{name} with key {} is let in: `kubectl get nodes` shows it within seconds", text(&answer["fingerprint"]));
    Ok(())
}

async fn remove(client: &mut Client, options: &Drain, force: bool) -> Result<()> {
    let name = path_word(&options.name)?;
    if force {
        println!("{name} is removed without moving its pods first");
    } else {
        let hint = || format!("{name} was not removed: `bramble node remove {name} --force` does it all the same");
        drain::run(client, options).await.with_context(hint)?;
    }
    client.send(Method::DELETE, &format!("/api/v1/nodes/{name}"), None).await?;
    println!(
        "{name} is removed, and its key is refused from now on.\nOn the machine itself, `bramble-agent reset` ends what runs there and makes it ready to join anew."
    );
    Ok(())
}

/// What may stand in a path as it is.
pub fn path_word(word: &str) -> Result<&str> {
    let plain = |one: char| one.is_ascii_alphanumeric() || matches!(one, '-' | '.');
    anyhow::ensure!(word.chars().all(plain), "{word:?} holds other characters than letters, digits, '-' and '.'");
    Ok(word)
}

pub fn items(list: &Value) -> &[Value] {
    list["items"].as_array().map_or(&[], Vec::as_slice)
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// As kubectl says it.
pub fn status(node: &Value) -> (String, Tone) {
    let conditions = node["status"]["conditions"].as_array();
    let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
    let (word, tone) = match ready.map(|condition| text(&condition["status"])) {
        Some("True") => ("Ready", Tone::Good),
        Some("Unknown") => ("NotReady", Tone::Bad),
        Some(_) => ("NotReady", Tone::Doubtful),
        None => ("Unknown", Tone::Doubtful),
    };
    match node["spec"]["unschedulable"] == json!(true) {
        true => (format!("{word},SchedulingDisabled"), Tone::Doubtful),
        false => (word.to_owned(), tone),
    }
}

pub fn address(node: &Value) -> &str {
    let addresses = node["status"]["addresses"].as_array();
    let internal = addresses.into_iter().flatten().find(|address| address["type"] == "InternalIP");
    internal.map_or("", |address| text(&address["address"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_and_waiting_machines_are_one_list() {
        let nodes = json!({"items": [{"metadata": {"name": "pi-1"}, "spec": {"unschedulable": true}, "status": {
            "addresses": [{"type": "InternalIP", "address": "10.0.0.2"}],
            "conditions": [{"type": "Ready", "status": "True"}]}}]});
        let links = json!({"items": [{"name": "pi-1", "fingerprint": "aaaa-bbbb-cccc"}]});
        let pending = json!({"items": [{"name": "pi-2", "fingerprint": "dddd-eeee-ffff", "address": "10.0.0.3"}]});
        let expected = "NAME   STATUS                     ADDRESS    FINGERPRINT\n\
                        pi-1   Ready,SchedulingDisabled   10.0.0.2   aaaa-bbbb-cccc\n\
                        pi-2   Pending                    10.0.0.3   dddd-eeee-ffff\n";
        assert_eq!(render(&nodes, &links, &pending, false), expected);
        assert!(path_word("../x").is_err() && path_word("pi-1.lan").is_ok());
    }
}
