//! The documents that an image is made of, as registries and archives hold them.

use std::collections::BTreeMap;

use control_api::image::{Platform, reference::is_sha256_hex};
use serde::Deserialize;

use crate::image::ImageConfig;

pub(crate) const INDEX_TYPES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
pub(crate) const MANIFEST_TYPES: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
/// Layers that a registry must not serve, or that are no file system, are refused by name.
const LAYER_TYPE_MARKS: [&str; 2] = ["layer", "rootfs.diff"];

#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("cannot read a {0}")]
    Json(&'static str, #[source] serde_json::Error),
    #[error("no match for platform in manifest: not found")]
    NoPlatform,
    #[error("unsupported manifest media type {0:?}")]
    MediaType(String),
    #[error("unsupported layer media type {0:?}")]
    LayerType(String),
    #[error("{0:?} is no sha256 digest")]
    Digest(String),
    #[error("image has {layers} layers and {diff_ids} diff ids")]
    LayerCount { layers: usize, diff_ids: usize },
    #[error("image has {0} layers, above the limit of {1}")]
    TooManyLayers(usize, usize),
    #[error("image is for {0}/{1}, not for this node: no match for platform in manifest: not found")]
    WrongPlatform(String, String),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: String,
    #[serde(default)]
    pub size: u64,
    pub platform: Option<DescriptorPlatform>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct DescriptorPlatform {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    pub variant: Option<String>,
}

/// An empty variant is none.
impl From<DescriptorPlatform> for Platform {
    fn from(told: DescriptorPlatform) -> Self {
        let variant = told.variant.filter(|variant| !variant.is_empty());
        Self { os: told.os, architecture: told.architecture, variant }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    manifests: Vec<Descriptor>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Debug)]
pub(crate) enum Manifest {
    Index(Vec<Descriptor>),
    Image { config: Descriptor, layers: Vec<Descriptor> },
}

impl Manifest {
    /// `media_type` is what the registry says; the document's own field wins.
    pub fn parse(bytes: &[u8], media_type: &str) -> Result<Self, ManifestError> {
        let document: Document = serde_json::from_slice(bytes).map_err(|e| ManifestError::Json("manifest", e))?;
        let kind = if document.media_type.is_empty() { media_type } else { &document.media_type };
        let is_index =
            INDEX_TYPES.contains(&kind) || (!MANIFEST_TYPES.contains(&kind) && !document.manifests.is_empty());
        if is_index {
            return Ok(Self::Index(document.manifests));
        }
        let Some(config) = document.config else { return Err(ManifestError::MediaType(kind.to_owned())) };
        for layer in &document.layers {
            let known =
                layer.media_type.is_empty() || LAYER_TYPE_MARKS.iter().any(|mark| layer.media_type.contains(mark));
            if !known || layer.media_type.contains("encrypted") {
                return Err(ManifestError::LayerType(layer.media_type.clone()));
            }
        }
        for descriptor in document.layers.iter().chain([&config]) {
            descriptor.check()?;
        }
        Ok(Self::Image { config, layers: document.layers })
    }
}

impl Descriptor {
    pub fn check(&self) -> Result<(), ManifestError> {
        match self.digest.strip_prefix("sha256:") {
            Some(hex) if is_sha256_hex(hex) => Ok(()),
            _ => Err(ManifestError::Digest(self.digest.clone())),
        }
    }
}

/// The best of an index for this machine; the first of equals. Build attestations have the platform unknown/unknown.
pub(crate) fn choose<'a>(manifests: &'a [Descriptor], platform: &Platform) -> Result<&'a Descriptor, ManifestError> {
    let ranked = manifests.iter().filter_map(|descriptor| {
        let rank = match &descriptor.platform {
            Some(p) => platform.rank(&p.os, &p.architecture, p.variant.as_deref())?,
            // An index of one image often says nothing; its configuration will.
            None => u32::MAX,
        };
        Some((rank, descriptor))
    });
    let best = ranked.min_by_key(|(rank, _)| *rank).ok_or(ManifestError::NoPlatform)?.1;
    best.check()?;
    Ok(best)
}

#[derive(Debug, Deserialize)]
pub(crate) struct ConfigDocument {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    variant: Option<String>,
    config: Option<ConfigFields>,
    rootfs: RootFs,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    diff_ids: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigFields {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    user: Option<String>,
    working_dir: Option<String>,
    /// Go writes a set as a map to empty objects.
    exposed_ports: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    stop_signal: Option<String>,
}

impl ConfigDocument {
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        serde_json::from_slice(bytes).map_err(|e| ManifestError::Json("image configuration", e))
    }

    /// What the image says that it is for.
    pub fn platform(self) -> Option<Platform> {
        let (os, architecture) = (self.os, self.architecture);
        let stated = !architecture.is_empty() && !os.is_empty();
        stated.then(|| DescriptorPlatform { architecture, os, variant: self.variant }.into())
    }

    /// The diff ids, checked against what the manifest has and against what this machine can run.
    pub fn diff_ids(
        &self,
        layers: usize,
        layers_max: usize,
        platform: &Platform,
    ) -> Result<Vec<String>, ManifestError> {
        let stated = !self.architecture.is_empty() && !self.os.is_empty();
        if stated && platform.rank(&self.os, &self.architecture, self.variant.as_deref()).is_none() {
            return Err(ManifestError::WrongPlatform(self.os.clone(), self.architecture.clone()));
        }
        let diff_ids = self.rootfs.diff_ids.clone().unwrap_or_default();
        if diff_ids.len() > layers_max {
            return Err(ManifestError::TooManyLayers(diff_ids.len(), layers_max));
        }
        if diff_ids.len() != layers {
            return Err(ManifestError::LayerCount { layers, diff_ids: diff_ids.len() });
        }
        for diff_id in &diff_ids {
            if !diff_id.strip_prefix("sha256:").is_some_and(is_sha256_hex) {
                return Err(ManifestError::Digest(diff_id.clone()));
            }
        }
        Ok(diff_ids)
    }

    pub fn image_config(self) -> ImageConfig {
        let fields = self.config.unwrap_or_default();
        ImageConfig {
            entrypoint: fields.entrypoint.unwrap_or_default(),
            cmd: fields.cmd.unwrap_or_default(),
            env: fields.env.unwrap_or_default(),
            user: fields.user.unwrap_or_default(),
            working_dir: fields.working_dir.unwrap_or_default(),
            exposed_ports: fields.exposed_ports.unwrap_or_default().into_keys().collect(),
            stop_signal: fields.stop_signal.filter(|signal| !signal.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_index_is_searched_by_platform_and_attestations_are_passed_over() {
        let digest = |n: u8| format!("sha256:{}", format!("{n:02x}").repeat(32));
        let entry = |n: u8, os: &str, architecture: &str, variant: &str| {
            format!(
                r#"{{"digest":"{}","size":1,"platform":{{"os":"{os}","architecture":"{architecture}","variant":"{variant}"}}}}"#,
                digest(n)
            )
        };
        let json = format!(
            r#"{{"mediaType":"{}","manifests":[{},{},{},{}]}}"#,
            INDEX_TYPES[0],
            entry(1, "unknown", "unknown", ""),
            entry(2, "linux", "arm", "v6"),
            entry(3, "linux", "arm", "v7"),
            entry(4, "linux", "arm64", "v8"),
        );
        let Manifest::Index(manifests) = Manifest::parse(json.as_bytes(), "").unwrap() else { panic!("no index") };
        let chosen = |architecture: &str, variant: Option<&str>| {
            choose(&manifests, &Platform::new(architecture, variant)).map(|d| d.digest.clone()).ok()
        };
        assert_eq!(chosen("arm", Some("v7")), Some(digest(3)));
        assert_eq!(chosen("arm", Some("v6")), Some(digest(2)));
        assert_eq!(chosen("arm64", Some("v8")), Some(digest(4)));
        assert_eq!(chosen("amd64", None), None);
    }

    #[test]
    fn a_configuration_with_nulls_is_read() {
        let json = br#"{"architecture":"amd64","os":"linux","config":{"Entrypoint":null,"Cmd":["a"],"ExposedPorts":{"80/tcp":{}}},"rootfs":{"type":"layers","diff_ids":null}}"#;
        let config = ConfigDocument::parse(json).unwrap();
        assert_eq!(config.diff_ids(0, 1, &Platform::new("amd64", None)).unwrap(), Vec::<String>::new());
        assert!(matches!(config.diff_ids(0, 1, &Platform::new("arm64", None)), Err(ManifestError::WrongPlatform(..))));
        let config = config.image_config();
        assert_eq!((config.cmd, config.exposed_ports), (vec!["a".to_owned()], vec!["80/tcp".to_owned()]));
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_decoder_panic(text in r#"[\[\]{}":,a-z0-9 ]{0,200}"#) {
            let _ = Manifest::parse(text.as_bytes(), "");
            let _ = ConfigDocument::parse(text.as_bytes());
        }
    }
}
