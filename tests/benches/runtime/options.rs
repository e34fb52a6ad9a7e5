//! What is measured, and how often.

use anyhow::{Result, bail};

/// The measurements, in the order they run.
const NAMES: [&str; 3] = ["sandbox", "container", "exec"];

pub struct Options {
    wanted: Vec<String>,
    /// Of sandboxes and containers.
    pub rounds: usize,
    pub execs: usize,
}

impl Options {
    /// Reads `[--quick] [NAME...]`.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self { wanted: Vec::new(), rounds: 50, execs: 200 };
        for argument in arguments {
            match argument.as_str() {
                "--quick" => (options.rounds, options.execs) = (10, 20),
                // What cargo itself passes to every bench.
                "--bench" => {}
                name if NAMES.contains(&name) => options.wanted.push(argument),
                other => bail!("{other}: not one of --quick, {}", NAMES.join(", ")),
            }
        }
        Ok(options)
    }

    /// Without names everything is.
    pub fn wants(&self, name: &str) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|wanted| wanted == name)
    }
}
