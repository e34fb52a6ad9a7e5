//! `bramble kubeconfig`: prints the administrator's kubeconfig, or adds it to the user's own.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::data_dir::DataDir;

/// The name of cluster, user and context in a merged file.
const NAME: &str = "bramble";

/// Prints the file, or merges it into KUBECONFIG or ~/.kube/config.
pub fn run(data: &DataDir, merge: bool) -> Result<()> {
    let path = data.kubeconfig();
    let ours = fs::read_to_string(&path).with_context(|| {
        format!("cannot read {}: is the server of this data folder running? start it with `bramble up`", path.display())
    })?;
    if !merge {
        print!("{ours}");
        return Ok(());
    }
    let target = user_file()?;
    let theirs = match fs::read_to_string(&target) {
        Ok(text) => parse(&text).with_context(|| format!("cannot read {}", target.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => json!({"apiVersion": "v1", "kind": "Config"}),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", target.display())),
    };
    let merged = merged(theirs, &parse(&ours)?)?;
    let text = serde_saphyr::to_string(&merged).context("cannot write a kubeconfig as YAML")?;
    write_private(&target, &text).with_context(|| format!("cannot write {}", target.display()))?;
    println!("added context {NAME} to {} and made it the current one", target.display());
    Ok(())
}

fn parse(text: &str) -> Result<Value> {
    serde_saphyr::from_str(text).context("not a kubeconfig")
}

/// The first file of KUBECONFIG, or the default, as kubectl looks for it.
fn user_file() -> Result<PathBuf> {
    let named = std::env::var_os("KUBECONFIG").and_then(|list| std::env::split_paths(&list).next());
    if let Some(path) = named.filter(|path| !path.as_os_str().is_empty()) {
        return Ok(path);
    }
    let home = std::env::var_os("HOME").context("neither KUBECONFIG nor HOME says where the kubeconfig goes")?;
    Ok(Path::new(&home).join(".kube/config"))
}

/// `theirs` with our cluster, user and context in it under [`NAME`], replacing older ones of that name only.
fn merged(mut theirs: Value, ours: &Value) -> Result<Value> {
    for (list, inner) in [("clusters", "cluster"), ("users", "user")] {
        let entry = ours[list][0].get(inner).with_context(|| format!("the server's kubeconfig has no {inner}"))?;
        set(&mut theirs, list, json!({"name": NAME, inner: entry}))?;
    }
    set(&mut theirs, "contexts", json!({"name": NAME, "context": {"cluster": NAME, "user": NAME}}))?;
    theirs["current-context"] = json!(NAME);
    Ok(theirs)
}

fn set(config: &mut Value, list: &str, entry: Value) -> Result<()> {
    let config = config.as_object_mut().context("the kubeconfig is not a mapping")?;
    let entries = config.entry(list).or_insert_with(|| json!([]));
    if entries.is_null() {
        *entries = json!([]);
    }
    let entries = entries.as_array_mut().with_context(|| format!("{list} in the kubeconfig is not a list"))?;
    entries.retain(|other| other["name"] != NAME);
    entries.push(entry);
    Ok(())
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let fresh = path.with_extension("bramble-new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(server: &str) -> Value {
        json!({"clusters": [{"name": "x", "cluster": {"server": server}}],
               "users": [{"name": "y", "user": {"token": "t"}}], "contexts": [], "current-context": "x"})
    }

    #[test]
    fn merging_keeps_what_others_put_there() {
        let theirs = json!({"apiVersion": "v1", "kind": "Config",
            "clusters": [{"name": "work", "cluster": {"server": "https://work"}}], "users": null});
        let once = merged(theirs, &ours("https://one")).expect("merges");
        let twice = merged(once, &ours("https://two")).expect("merges");
        assert_eq!(twice["clusters"].as_array().map(Vec::len), Some(2));
        assert_eq!(twice["clusters"][0]["name"], "work");
        assert_eq!(twice["clusters"][1], json!({"name": "bramble", "cluster": {"server": "https://two"}}));
        assert_eq!(twice["users"], json!([{"name": "bramble", "user": {"token": "t"}}]));
        assert_eq!(twice["current-context"], "bramble");
    }
}
