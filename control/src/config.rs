//! The server's configuration file: YAML, all of it optional.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

/// The largest file read.
const FILE_BYTES_MAX: u64 = 64 << 10;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// Where the API (tcp) and agents (udp) are served.
    pub listen: SocketAddr,
    /// Names and addresses, beside this machine's own, that clients may know the API by.
    pub names: Vec<String>,
    /// Pod addresses; each node gets a /24 of it.
    pub pod_range: String,
    /// Users with bearer tokens, a line each: `token,user,uid,"group1,group2"`.
    pub token_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 6443)),
            names: Vec::new(),
            pod_range: "10.42.0.0/16".to_owned(),
            token_file: None,
        }
    }
}

impl Config {
    /// Reads `path`; without one, the defaults.
    pub fn load(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let what = || format!("cannot read the configuration {}", path.display());
        let size = std::fs::metadata(path).with_context(what)?.len();
        anyhow::ensure!(size <= FILE_BYTES_MAX, "{} is larger than {FILE_BYTES_MAX} bytes", path.display());
        let text = std::fs::read_to_string(path).with_context(what)?;
        Self::parse(&text).with_context(what)
    }

    fn parse(text: &str) -> Result<Self> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        Ok(serde_saphyr::from_str(text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_is_default() {
        let config = Config::parse("names: [pi.lan]\n").expect("parses");
        assert_eq!((config.listen.port(), config.names.len()), (6443, 1));
        assert_eq!(Config::parse("").expect("parses").pod_range, "10.42.0.0/16");
    }

    #[test]
    fn an_unknown_field_is_named() {
        let error = format!("{:#}", Config::parse("lisen: 0.0.0.0:1\n").expect_err("is refused"));
        assert!(error.contains("lisen"), "{error}");
    }
}
