//! The boards that a card may be built for, and Debian's architectures that they run.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::data;

/// A board's name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Board {
    /// Raspberry Pi 3, 4, 5 and Zero 2 W, 64 bits.
    Pi,
    /// Raspberry Pi 2 and 3, 32 bits.
    Pi2,
    /// QEMU's `virt` and other virtual machines.
    Virt,
}

/// Debian's name of an architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    Arm64,
    Armhf,
}

/// What a board's FAT partition holds beside kernel and initramfs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Profile {
    /// None: any.
    architecture: Option<String>,
    /// Patterns of file names of the kernel's device trees.
    pub device_trees: Vec<String>,
    /// Whether the Raspberry Pi's own firmware is put in.
    pub firmware: bool,
}

/// Where an architecture's packages come from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Debian's release.
    pub suite: String,
    /// The package that depends on the newest kernel.
    pub kernel: String,
    /// Patterns of packages taken from the release's backports.
    pub backports: Vec<String>,
    /// Packages of firmware, unpacked apart.
    pub firmware: Vec<String>,
    /// Our programs' folder below `target/dist`.
    pub programs: String,
}

impl Board {
    pub fn name(self) -> &'static str {
        match self {
            Self::Pi => "pi",
            Self::Pi2 => "pi2",
            Self::Virt => "virt",
        }
    }

    pub(crate) fn profile(self) -> Result<Profile> {
        let name = format!("{}/board.toml", self.name());
        toml::from_str(data::text(&name)).with_context(|| format!("images/boards/{name} is damaged"))
    }

    /// The architecture it is built for, where that was asked for or not.
    pub fn architecture(self, asked: Option<Architecture>) -> Result<Architecture> {
        let Some(own) = self.profile()?.architecture else { return Ok(asked.unwrap_or(Architecture::Arm64)) };
        let own: Architecture = own.parse()?;
        match asked {
            Some(asked) if asked != own => bail!("--board {self} is {own}, not {asked}"),
            _ => Ok(own),
        }
    }
}

impl Architecture {
    pub fn name(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::Armhf => "armhf",
        }
    }

    pub(crate) fn source(self) -> Result<Source> {
        let name = format!("{self}.toml");
        toml::from_str(data::text(&name)).with_context(|| format!("images/boards/{name} is damaged"))
    }

    /// `e_machine` of its programs.
    pub(crate) fn elf_machine(self) -> u16 {
        match self {
            Self::Arm64 => 183,
            Self::Armhf => 40,
        }
    }
}

impl FromStr for Board {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let boards = [Self::Pi, Self::Pi2, Self::Virt];
        boards.into_iter().find(|board| board.name() == name).context("a board is pi, pi2 or virt")
    }
}

impl FromStr for Architecture {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let known = [Self::Arm64, Self::Armhf];
        known.into_iter().find(|known| known.name() == name).context("an architecture is arm64 or armhf")
    }
}

impl fmt::Display for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
