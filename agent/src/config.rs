//! The agent's settings: flags over the file over defaults.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_pods::node::memory_room;
use agent_pods::pressure::Thresholds;
use anyhow::{Context, Result};
use serde::Deserialize;

use crate::cli::Cli;
use crate::clock::MachineClock;
use crate::layout::{DATA_DIR, Layout};
use crate::state::Teller;

/// As Kubernetes has it.
const IMAGE_GC_PERCENT: u64 = 85;
const IMAGE_GC_AGE: Duration = Duration::from_secs(120);
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

#[derive(Debug, Clone)]
pub struct Config {
    pub layout: Layout,
    pub join: Option<String>,
    pub servers: Vec<String>,
    pub cluster: Option<String>,
    pub discovery: bool,
    pub node_name: String,
    pub metrics: Option<String>,
    pub announce: bool,
    pub resolv_conf: PathBuf,
    pub registries: Registries,
    pub thresholds: Thresholds,
    pub image_gc_percent: u64,
    pub image_gc_age: Duration,
    /// None where others keep the machine's clock.
    pub clock: Option<MachineClock>,
    pub teller: Teller,
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
        let metrics = file.metrics.unwrap_or_else(|| "127.0.0.1:10249".to_owned());
        let layout = Layout { root };
        let clock = file.set_clock.then(|| MachineClock::new(layout.card()));
        Ok(Self {
            layout,
            join: cli.run.join.clone().or(file.join),
            servers: if cli.run.server.is_empty() { file.servers } else { cli.run.server.clone() },
            cluster: cli.run.cluster.clone().or(file.cluster).map(|cluster| cluster.to_ascii_lowercase()),
            // Only `bramble up` ends its agent with itself.
            discovery: file.discovery.unwrap_or(!cli.run.exit_with_parent),
            node_name: node_name.to_ascii_lowercase(),
            metrics: (metrics != "off").then_some(metrics),
            // Under `bramble up` nothing of this machine is shown to its LAN unless that is asked for.
            announce: file.announce.unwrap_or(!cli.run.exit_with_parent),
            resolv_conf: file.resolv_conf.unwrap_or_else(|| "/etc/resolv.conf".into()),
            registries: file.registries,
            thresholds: Thresholds::with(&file.eviction_hard, memory_room().whole).context("evictionHard")?,
            image_gc_percent: percent(file.image_gc_high_threshold_percent)?,
            image_gc_age: age(file.image_minimum_gc_age.as_deref())?,
            clock,
            teller: Teller::new(file.state_file),
        })
    }
}

fn percent(told: Option<u64>) -> Result<u64> {
    let percent = told.unwrap_or(IMAGE_GC_PERCENT);
    anyhow::ensure!((1..=100).contains(&percent), "imageGCHighThresholdPercent: {percent} is not from 1 to 100");
    Ok(percent)
}

fn age(told: Option<&str>) -> Result<Duration> {
    let Some(told) = told else { return Ok(IMAGE_GC_AGE) };
    let age = told.parse::<jiff::SignedDuration>().ok().and_then(|age| Duration::try_from(age).ok());
    age.with_context(|| format!("imageMinimumGCAge: {told:?} is no duration such as 2m"))
}

/// Whether these would be settings of a file, as JSON has them.
pub fn check(settings: serde_json::Map<String, serde_json::Value>) -> std::result::Result<(), String> {
    serde_json::from_value::<File>(settings.into()).map(drop).map_err(|error| error.to_string())
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
