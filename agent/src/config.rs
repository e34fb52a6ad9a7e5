//! The agent's settings: flags over the file over defaults.

mod file;

use std::path::PathBuf;
use std::time::Duration;

use agent_pods::node::memory_room;
use agent_pods::pressure::Thresholds;
use anyhow::{Context, Result};

use crate::cli::Cli;
use crate::clock::MachineClock;
use crate::layout::{DATA_DIR, Layout};
use crate::state::Teller;
pub use file::{File, Registries, check};

/// As Kubernetes has it.
const IMAGE_GC_PERCENT: u64 = 85;
const IMAGE_GC_AGE: Duration = Duration::from_secs(120);

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
            Some(path) => file::read(path)?,
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

fn host_name() -> Result<String> {
    let name = nix::unistd::gethostname().context("cannot read the machine's host name")?;
    name.into_string().ok().context("the machine's host name is no text: give --node-name")
}
