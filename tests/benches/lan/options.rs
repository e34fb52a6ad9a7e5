//! What is measured, and how much of it.

use std::time::Duration;

use anyhow::{Result, bail};

/// The measurements, in the order they run.
const NAMES: [&str; 6] = ["rules", "dns", "idle", "traffic", "readiness", "join"];

#[derive(Debug, Clone, Copy)]
pub struct Options {
    wanted: [bool; NAMES.len()],
    pub rounds: usize,
    pub window: Duration,
    pub services: usize,
    pub changes: usize,
    pub toggles: usize,
    pub joins: usize,
    pub idle: Duration,
}

impl Options {
    /// Reads `[--quick] [NAME...]`.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            wanted: [false; NAMES.len()],
            rounds: 9,
            window: Duration::from_secs(1),
            services: 5000,
            changes: 500,
            toggles: 50,
            joins: 5,
            idle: Duration::from_secs(60),
        };
        for argument in arguments {
            match argument.as_str() {
                "--quick" => {
                    (options.rounds, options.window) = (5, Duration::from_millis(400));
                    (options.changes, options.toggles, options.joins) = (100, 20, 3);
                    options.idle = Duration::from_secs(30);
                }
                // What cargo itself passes to every bench.
                "--bench" => {}
                name => match NAMES.iter().position(|known| *known == name) {
                    Some(at) => options.wanted[at] = true,
                    None => bail!("{name}: not one of --quick, {}", NAMES.join(", ")),
                },
            }
        }
        Ok(options)
    }

    /// Without names everything is.
    pub fn wants(&self, name: &str) -> bool {
        let named = NAMES.iter().zip(self.wanted).any(|(known, wanted)| wanted && *known == name);
        named || !self.wanted.contains(&true)
    }
}
