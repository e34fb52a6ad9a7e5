//! The agent's settings: flags over the file over defaults.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::cli::Cli;
use crate::layout::{DATA_DIR, Layout};

/// The largest file read.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// The file, YAML; every field may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct File {
    pub join: Option<String>,
    pub node_name: Option<String>,
    pub data_dir: Option<PathBuf>,
    /// All pods of the cluster; 10.42.0.0/16.
    pub pod_range: Option<String>,
    /// Where metrics are served; `off` for nowhere. 127.0.0.1:10249.
    pub metrics: Option<String>,
    pub registries: Registries,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Registries {
    /// Registries spoken to over plain HTTP.
    pub insecure: Vec<String>,
    /// By registry, where to ask first.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// PEM files with further certificate authorities.
    pub ca_files: Vec<PathBuf>,
}

#[derive(Debug, Clone)]
pub struct Config {
    pub layout: Layout,
    pub join: Option<String>,
    pub node_name: String,
    pub cluster_range: agent_network::Range,
    pub metrics: Option<String>,
    pub registries: Registries,
}

impl Config {
    pub fn load(cli: &Cli) -> Result<Self> {
        let file = match &cli.config {
            Some(path) => read(path)?,
            None => File::default(),
        };
        let root = cli.data_dir.clone().or(file.data_dir).unwrap_or_else(|| DATA_DIR.into());
        let root = std::path::absolute(&root).with_context(|| format!("data folder {}", root.display()))?;
        let node_name = match cli.run.node_name.clone().or(file.node_name) {
            Some(name) => name,
            None => host_name()?,
        };
        let range = file.pod_range.unwrap_or_else(|| "10.42.0.0/16".to_owned());
        let metrics = file.metrics.unwrap_or_else(|| "127.0.0.1:10249".to_owned());
        Ok(Self {
            layout: Layout { root },
            join: cli.run.join.clone().or(file.join),
            node_name: node_name.to_ascii_lowercase(),
            cluster_range: range.parse().context("podRange")?,
            metrics: (metrics != "off").then_some(metrics),
            registries: file.registries,
        })
    }
}

fn read(path: &Path) -> Result<File> {
    let size = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    anyhow::ensure!(size <= FILE_BYTES_MAX, "{} is larger than {FILE_BYTES_MAX} bytes", path.display());
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("cannot understand {}", path.display()))
}

fn host_name() -> Result<String> {
    let name = nix::unistd::gethostname().context("cannot read the machine's host name")?;
    name.into_string().ok().context("the machine's host name is no text: give --node-name")
}
