//! What is measured, and for how long.

use std::time::Duration;

use anyhow::{Result, bail};

/// The measurements, in the order they run.
pub const NAMES: [&str; 6] = ["size", "start", "idle", "pods", "probes", "api"];

pub struct Options {
    wanted: Vec<String>,
    /// The window of bytes written at idle; CPU time is taken over its first minute at most.
    pub idle: Duration,
    /// The window of probes.
    pub probes: Duration,
    pub creates: usize,
    pub gets: usize,
    pub lists: usize,
}

impl Options {
    /// Reads `[--quick] [--idle SECONDS] [NAME...]`.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            wanted: Vec::new(),
            idle: Duration::from_secs(600),
            probes: Duration::from_secs(30),
            creates: 10_000,
            gets: 40_000,
            lists: 200,
        };
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => {
                    (options.idle, options.probes) = (Duration::from_secs(20), Duration::from_secs(5));
                    (options.creates, options.gets, options.lists) = (2_000, 8_000, 40);
                }
                "--idle" => match arguments.next().map(|seconds| seconds.parse()) {
                    Some(Ok(seconds)) => options.idle = Duration::from_secs(seconds),
                    _ => bail!("--idle needs a number of seconds"),
                },
                // What cargo itself passes to every bench.
                "--bench" => {}
                name if NAMES.contains(&name) => options.wanted.push(argument),
                other => bail!("{other}: not one of --quick, --idle SECONDS, {}", NAMES.join(", ")),
            }
        }
        Ok(options)
    }

    /// Without names everything is.
    pub fn wants(&self, name: &str) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|wanted| wanted == name)
    }
}
