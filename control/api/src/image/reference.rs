//! Names of images, as people write them and as registries are asked for them.

use std::{fmt, str::FromStr};

const NAME_LENGTH_MAX: usize = 255;
const TAG_LENGTH_MAX: usize = 128;

/// An image's full name: registry, repository, and a tag or a digest or both.
///
/// Docker's short forms are filled in: `busybox` is `docker.io/library/busybox:latest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    pub registry: String,
    pub repository: String,
    pub tag: Option<String>,
    /// `sha256:` and 64 hex digits.
    pub digest: Option<String>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error("couldn't parse image name \"{0}\": invalid reference format")]
    Format(String),
    #[error(
        "couldn't parse image name \"{0}\": invalid reference format: repository name (library/{0}) must be lowercase"
    )]
    Uppercase(String),
    #[error("couldn't parse image name \"{0}\": repository name must not be more than 255 characters")]
    TooLong(String),
    #[error("couldn't parse image name \"{0}\": unsupported digest algorithm")]
    Digest(String),
}

impl Reference {
    /// What a registry is asked for: the digest where there is one, else the tag.
    pub fn target(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }

    /// The name without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let bad = || ReferenceError::Format(text.to_owned());
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        if let Some(digest) = digest {
            let Some((algorithm, hex)) = digest.split_once(':') else { return Err(bad()) };
            if algorithm != "sha256" {
                return Err(ReferenceError::Digest(text.to_owned()));
            }
            if !is_sha256_hex(hex) {
                return Err(bad());
            }
        }
        // A colon after the last slash starts the tag; an earlier one belongs to the registry's port.
        let slash = rest.rfind('/').map_or(0, |at| at + 1);
        let (path, tag) = match rest[slash..].find(':') {
            Some(at) => (&rest[..slash + at], Some(&rest[slash + at + 1..])),
            None => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(bad());
        }
        let (registry, repository) = match path.split_once('/') {
            Some((first, rest)) if is_registry(first) => (first, rest.to_owned()),
            _ => ("docker.io", path.to_owned()),
        };
        let registry = if registry == "index.docker.io" { "docker.io" } else { registry };
        if !is_host(registry) {
            return Err(bad());
        }
        if repository.chars().any(|c| c.is_ascii_uppercase()) && is_repository(&repository.to_ascii_lowercase()) {
            return Err(ReferenceError::Uppercase(text.to_owned()));
        }
        if !is_repository(&repository) {
            return Err(bad());
        }
        let repository = if registry == "docker.io" && !repository.contains('/') {
            format!("library/{repository}")
        } else {
            repository
        };
        // Of the full name, which the short form only stands for.
        if registry.len() + 1 + repository.len() > NAME_LENGTH_MAX {
            return Err(ReferenceError::TooLong(text.to_owned()));
        }
        let tag = match (tag, digest) {
            (None, None) => Some("latest".to_owned()),
            (tag, _) => tag.map(str::to_owned),
        };
        Ok(Self { registry: registry.to_owned(), repository, tag, digest: digest.map(str::to_owned) })
    }
}

/// The first part names a registry only where it cannot be a user of Docker's hub.
fn is_registry(part: &str) -> bool {
    part.contains('.') || part.contains(':') || part == "localhost" || part.chars().any(|c| c.is_ascii_uppercase())
}

fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) => {
                if host.parse::<std::net::Ipv6Addr>().is_err() {
                    return false;
                }
                return port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            }
            None => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    host.split('.').all(label) && port.is_none_or(is_port)
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

/// Parts of lower-case letters and digits, joined inside by `.`, `_`, `__` or any number of dashes.
fn is_repository(text: &str) -> bool {
    text.split('/').all(|part| {
        let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let edges = part.bytes().next().is_some_and(alphanumeric) && part.bytes().last().is_some_and(alphanumeric);
        edges
            && part
                .split(|c: char| alphanumeric(u8::try_from(c).unwrap_or(0)))
                .all(|joint| matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|b| b == b'-'))
    })
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= TAG_LENGTH_MAX
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

/// The part of a digest behind `sha256:`.
pub fn is_sha256_hex(hex: &str) -> bool {
    hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_length_that_counts_is_the_full_name_s() {
        let long = "a".repeat(NAME_LENGTH_MAX - "docker.io/library/".len());
        let reference: Reference = long.parse().expect("is as long as may be");
        assert_eq!(reference.to_string().parse::<Reference>().expect("reads the same"), reference);
        assert!(matches!(format!("{long}a").parse::<Reference>(), Err(ReferenceError::TooLong(_))));
    }

    #[test]
    fn short_names_are_filled_in_as_docker_does() {
        for (short, full) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("busybox:1.36", "docker.io/library/busybox:1.36"),
            ("user/app", "docker.io/user/app:latest"),
            ("index.docker.io/app", "docker.io/library/app:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/a/b:t", "localhost:5000/a/b:t"),
            ("[::1]:5000/a", "[::1]:5000/a:latest"),
            ("ghcr.io/a/b__c/d-e.f", "ghcr.io/a/b__c/d-e.f:latest"),
        ] {
            assert_eq!(short.parse::<Reference>().unwrap().to_string(), full, "{short}");
        }
        let both: Reference = format!("app:1@{DIGEST}").parse().unwrap();
        assert_eq!((both.target(), both.tag.as_deref()), (DIGEST, Some("1")));
        let digest: Reference = format!("app@{DIGEST}").parse().unwrap();
        assert_eq!(digest.to_string(), format!("docker.io/library/app@{DIGEST}"));
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        let long = "a".repeat(300);
        for text in [
            "",
            "/",
            "a//b",
            "app:",
            "app:-x",
            "app@sha256:12",
            "a b",
            "../x",
            "x.y:99999/a",
            "-x/a",
            "a/_b",
            "a___b",
            &long,
            "é",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
        assert!(matches!("App".parse::<Reference>(), Err(ReferenceError::Uppercase(_))));
    }
}
