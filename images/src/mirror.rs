//! Where Debian's packages are fetched: the mirror, keys and proxies that this machine's own apt uses.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::tools::{said, tool};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One archive of Debian, and that of its security updates beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    pub main: String,
    pub security: String,
}

impl Mirror {
    /// The one that was asked for, or that of this machine.
    pub fn find(asked: Option<&str>) -> Result<Self> {
        let listed = match asked {
            Some(main) => return Self::of(main),
            None => said(tool("apt-get").args([
                "indextargets",
                "--format",
                "$(REPO_URI) $(RELEASE)",
                "Created-By: Packages",
            ])),
        };
        Self::among(&listed?).context(
            "this machine's apt names no mirror of Debian: name one with --mirror, the address that ends with /debian",
        )
    }

    fn of(main: &str) -> Result<Self> {
        let main = main.trim_end_matches('/');
        let is_plain = |c: char| c.is_ascii_graphic() && !"[]\"'\\".contains(c);
        if !main.contains("://") || !main.chars().all(is_plain) {
            bail!("--mirror must be an address such as http://MIRROR/debian");
        }
        let security = main.strip_suffix("/debian").map(|site| format!("{site}/debian-security"));
        Ok(Self { main: main.to_owned(), security: security.context("--mirror must end with /debian")? })
    }

    /// Among lines of address and release. Others than Debian have archives named `debian` too, but no `-updates` in them.
    fn among(listed: &str) -> Option<Self> {
        let lines = || listed.lines().filter_map(|line| line.split_once(' '));
        let ends = |address: &str, end: &str| address.trim_end_matches('/').ends_with(end);
        let mut archives = lines().filter(|(address, _)| ends(address, "/debian"));
        let (main, _) = archives
            .clone()
            .find(|(_, release)| release.ends_with("-updates"))
            .or_else(|| archives.find(|(address, _)| !address.contains("raspberrypi")))?;
        let mut mirror = Self::of(main).ok()?;
        if let Some((security, _)) = lines().find(|(address, _)| ends(address, "/debian-security")) {
            mirror.security = security.trim_end_matches('/').to_owned();
        }
        Some(mirror)
    }
}

/// Debian's keys, which every package is checked with.
pub fn keyring() -> Result<PathBuf> {
    let keyring = Path::new(KEYRING);
    if !keyring.is_file() {
        bail!("{KEYRING} is missing: sudo apt-get install debian-archive-keyring");
    }
    Ok(keyring.to_owned())
}

/// The system's settings of fetching: proxies, timeouts, certificates. Nothing else of its configuration is used.
pub fn acquire_settings() -> Result<String> {
    let dump = said(tool("apt-config").arg("dump"))?;
    let is_ours = |line: &&str| line.starts_with("Acquire::") && !line.starts_with("Acquire::IndexTargets");
    Ok(dump.lines().filter(is_ours).flat_map(|line| [line, "\n"]).collect())
}

#[cfg(test)]
mod tests {
    use super::Mirror;

    #[test]
    fn debian_is_told_from_archives_of_the_same_name() {
        let listed = "http://archive.raspberrypi.com/debian/ bookworm\nhttp://a.test/debian/ bookworm\n\
                      http://b.test/debian/ bookworm-updates\nhttp://c.test/debian-security/ bookworm-security\n";
        let mirror = Mirror::among(listed).expect("there is one");
        assert_eq!(
            mirror,
            Mirror { main: "http://b.test/debian".into(), security: "http://c.test/debian-security".into() }
        );
        assert_eq!(Mirror::among("http://archive.raspberrypi.com/debian/ bookworm\n"), None);
    }

    #[test]
    fn a_mirror_that_was_asked_for_is_an_address() {
        assert!(Mirror::of("http://a.test/debian/").is_ok());
        for wrong in ["a.test/debian", "http://a.test/ubuntu", "http://a.test/debian] /debian", ""] {
            assert!(Mirror::of(wrong).is_err(), "{wrong}");
        }
    }
}
