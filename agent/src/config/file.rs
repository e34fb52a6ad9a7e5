//! The agent's file of settings.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

/// The largest file read.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// The file, YAML; every field may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct File {
    pub join: Option<String>,
    /// Servers to ask to be let in, `HOST:PORT`, where there is no token.
    pub servers: Vec<String>,
    /// The cluster to ask, where several may answer.
    pub cluster: Option<String>,
    /// Whether clusters are looked for on the LAN, by mDNS; under `bramble up` only where this says so.
    pub discovery: Option<bool>,
    pub node_name: Option<String>,
    pub data_dir: Option<PathBuf>,
    /// Where metrics are served; `off` for nowhere. 127.0.0.1:10249.
    pub metrics: Option<String>,
    /// Whether this node announces load balancer addresses on its LAN; true, and false under `bramble up`.
    pub announce: Option<bool>,
    /// Where the machine's own name servers are named; /etc/resolv.conf.
    pub resolv_conf: Option<PathBuf>,
    pub registries: Registries,
    /// By Kubernetes' signal, the least that is to be free: `nodefs.available: 10%`, `memory.available: 100Mi`. Below it
    /// the Node says so in its conditions, and gets no new pods.
    pub eviction_hard: BTreeMap<String, String>,
    /// Above this use of the disk, in percent, images that no pod names are removed; 85, and 100 for never.
    #[serde(rename = "imageGCHighThresholdPercent")]
    pub image_gc_high_threshold_percent: Option<u64>,
    /// So long an image is unused before it is removed; 2m.
    #[serde(rename = "imageMinimumGCAge")]
    pub image_minimum_gc_age: Option<String>,
    /// Whether the clock is set to the cluster's time where nothing else keeps it (systemd-timesyncd does once it has
    /// reached a time server); for machines without a battery. False, and true on a card.
    pub set_clock: bool,
    /// Where the agent keeps a short word of what it is doing; nowhere by default.
    pub state_file: Option<PathBuf>,
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

/// Whether these would be settings of a file, as JSON has them.
pub fn check(settings: serde_json::Map<String, serde_json::Value>) -> std::result::Result<(), String> {
    serde_json::from_value::<File>(settings.into()).map(drop).map_err(|error| error.to_string())
}

/// What a file says.
pub fn read(path: &Path) -> Result<File> {
    let size = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    anyhow::ensure!(size <= FILE_BYTES_MAX, "{} is larger than {FILE_BYTES_MAX} bytes", path.display());
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("cannot understand {}", path.display()))
}
