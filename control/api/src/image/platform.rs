//! What an image is built for, and which images a machine runs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a manifest list is searched by, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    pub variant: Option<String>,
}

impl Platform {
    pub fn new(architecture: &str, variant: Option<&str>) -> Self {
        Self { os: "linux".into(), architecture: architecture.into(), variant: variant.map(Into::into) }
    }

    /// The platform that this program was built for.
    pub fn host() -> Self {
        match std::env::consts::ARCH {
            "x86_64" => Self::new("amd64", None),
            "aarch64" => Self::new("arm64", Some("v8")),
            "arm" => Self::new("arm", Some("v7")),
            "x86" => Self::new("386", None),
            other => Self::new(other, None),
        }
    }

    /// How well an image for the given platform runs here: 0 is best, None is not at all.
    pub fn rank(&self, os: &str, architecture: &str, variant: Option<&str>) -> Option<u32> {
        if os != self.os {
            return None;
        }
        let variant = variant.filter(|variant| !variant.is_empty());
        let arm_level =
            |variant: Option<&str>| variant.and_then(|v| v.strip_prefix('v')).and_then(|v| v.parse::<u32>().ok());
        match (self.architecture.as_str(), architecture) {
            ("arm64", "arm64") => {
                let (ours, theirs) = (arm_level(self.variant.as_deref()).unwrap_or(8), arm_level(variant).unwrap_or(8));
                ours.checked_sub(theirs)
            }
            ("arm", "arm") => {
                let (ours, theirs) = (arm_level(self.variant.as_deref()).unwrap_or(7), arm_level(variant).unwrap_or(7));
                ours.checked_sub(theirs)
            }
            (ours, theirs) if ours == theirs => match (self.variant.as_deref(), variant) {
                (a, b) if a == b => Some(0),
                (_, None) => Some(1),
                (None, Some("v1")) => Some(1),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether an image for `image` runs on this machine at all. An arm64 machine is not taken to run 32-bit programs:
    /// whether it does depends on its processor and kernel.
    pub fn runs(&self, image: &Self) -> bool {
        self.rank(&image.os, &image.architecture, image.variant.as_deref()).is_some()
    }
}

/// As it is written everywhere: `linux/arm/v7`.
impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_armv7_board_takes_v7_before_v6_and_never_v8() {
        let board = Platform::new("arm", Some("v7"));
        assert_eq!(board.rank("linux", "arm", Some("v7")), Some(0));
        assert_eq!(board.rank("linux", "arm", None), Some(0));
        assert_eq!(board.rank("linux", "arm", Some("v6")), Some(1));
        assert_eq!(board.rank("linux", "arm", Some("v8")), None);
        assert_eq!(board.rank("linux", "arm64", Some("v8")), None);
        assert!(board.runs(&Platform::new("arm", Some("v5"))));
        assert_eq!(board.to_string(), "linux/arm/v7");
    }

    #[test]
    fn an_arm64_board_takes_the_variant_that_is_absent_as_v8() {
        let board = Platform::new("arm64", Some("v8"));
        assert_eq!(board.rank("linux", "arm64", None), Some(0));
        assert_eq!(board.rank("linux", "arm64", Some("v9")), None);
        assert_eq!(board.rank("windows", "arm64", None), None);
        assert!(!board.runs(&Platform::new("arm", Some("v7"))));
    }

    #[test]
    fn amd64_does_not_take_a_higher_level() {
        let machine = Platform::new("amd64", None);
        assert_eq!(machine.rank("linux", "amd64", None), Some(0));
        assert_eq!(machine.rank("linux", "amd64", Some("v1")), Some(1));
        assert_eq!(machine.rank("linux", "amd64", Some("v3")), None);
    }
}
