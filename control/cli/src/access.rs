//! Where the cluster is and who we are: a kubeconfig, as kubectl reads one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Where everything is kept unless it is said otherwise.
pub const DATA_DIR: &str = "/var/lib/bramble";
/// The largest kubeconfig read.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What a request needs.
#[derive(Debug, Clone)]
pub struct Access {
    pub file: PathBuf,
    pub host: String,
    pub port: u16,
    /// PEM.
    pub ca: Vec<u8>,
    /// Certificate and key, PEM.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
    pub token: Option<String>,
}

impl Access {
    /// From the data folder where one was named, else KUBECONFIG, ~/.kube/config, and the default folder.
    pub fn find(data_dir: &Path) -> Result<Self> {
        let mut files = Vec::new();
        if data_dir != Path::new(DATA_DIR) {
            // A folder that was named is meant: no other cluster stands in for it.
            let file = data_dir.join("kubeconfig");
            return Self::read(&file).with_context(|| format!("kubeconfig {}", file.display()));
        }
        files.extend(std::env::var_os("KUBECONFIG").iter().flat_map(std::env::split_paths));
        files.extend(std::env::var_os("HOME").map(|home| Path::new(&home).join(".kube/config")));
        files.push(Path::new(DATA_DIR).join("kubeconfig"));
        files.retain(|file| !file.as_os_str().is_empty());
        match files.iter().find(|file| file.exists()) {
            Some(file) => Self::read(file).with_context(|| format!("kubeconfig {}", file.display())),
            None => {
                let looked: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
                bail!(
                    "no kubeconfig is at {}: start a cluster with `bramble up`, or name one by --data-dir or KUBECONFIG",
                    looked.join(", ")
                )
            }
        }
    }

    fn read(file: &Path) -> Result<Self> {
        anyhow::ensure!(fs::metadata(file)?.len() <= FILE_BYTES_MAX, "is larger than {FILE_BYTES_MAX} bytes");
        let text = fs::read_to_string(file)?;
        let config: Value = serde_saphyr::from_str(&text).context("is not YAML")?;
        let current = config["current-context"].as_str().context("has no current-context")?;
        let context = named(&config, "contexts", current).context("its current-context is not among its contexts")?;
        let of = |list: &str, inner: &str| {
            let name = context["context"][inner].as_str().unwrap_or_default();
            named(&config, list, name)
                .map(|entry| entry[inner].clone())
                .with_context(|| format!("has no {inner} {name:?}"))
        };
        let (cluster, user) = (of("clusters", "cluster")?, of("users", "user")?);
        let folder = file.parent().unwrap_or(Path::new("."));
        let server = cluster["server"].as_str().context("names no server")?;
        let (host, port) = split(server).with_context(|| format!("its server {server} is not https://HOST[:PORT]"))?;
        if cluster["insecure-skip-tls-verify"] == true {
            bail!("insecure-skip-tls-verify is not supported: give certificate-authority-data");
        }
        let ca = data(&cluster, "certificate-authority", folder)?.context("has no certificate-authority-data")?;
        let client = data(&user, "client-certificate", folder)?.zip(data(&user, "client-key", folder)?);
        let token = user["token"].as_str().map(str::to_owned);
        if client.is_none() && token.is_none() {
            bail!("its user has neither client-certificate-data nor token; other ways in are not supported");
        }
        Ok(Self { file: file.to_owned(), host, port, ca, client, token })
    }
}

fn named<'a>(config: &'a Value, list: &str, name: &str) -> Option<&'a Value> {
    config[list].as_array()?.iter().find(|entry| entry["name"] == name)
}

/// `FIELD-data`, else the file that `FIELD` names.
fn data(entry: &Value, field: &str, folder: &Path) -> Result<Option<Vec<u8>>> {
    if let Some(text) = entry[format!("{field}-data")].as_str() {
        return STANDARD.decode(text).map(Some).with_context(|| format!("{field}-data is not base64"));
    }
    let Some(path) = entry[field].as_str() else { return Ok(None) };
    let path = folder.join(path);
    fs::read(&path).map(Some).with_context(|| format!("{field}: cannot read {}", path.display()))
}

fn split(server: &str) -> Option<(String, u16)> {
    let rest = server.strip_prefix("https://")?.trim_end_matches('/');
    if rest.contains('/') {
        return None;
    }
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()?),
        _ => (rest, 443),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_split_into_host_and_port() {
        assert_eq!(split("https://127.0.0.1:6443"), Some(("127.0.0.1".to_owned(), 6443)));
        assert_eq!(split("https://pi.lan/"), Some(("pi.lan".to_owned(), 443)));
        assert_eq!(split("https://[fd00::1]:6443"), Some(("fd00::1".to_owned(), 6443)));
        assert_eq!(split("http://pi.lan"), None);
        assert_eq!(split("https://pi.lan/k8s/clusters/a"), None);
    }
}
