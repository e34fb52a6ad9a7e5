//! Reading an image archive: an OCI layout, or what `docker save` writes.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use control_api::image::{Platform, Reference, reference::is_sha256_hex};
use serde::Deserialize;
use tar::{Archive as Tar, EntryType};

use crate::{
    manifest::{ConfigDocument, Descriptor, Manifest, ManifestError, choose},
    store::sha256,
};

const ENTRIES_MAX: usize = 100_000;
const DOCUMENT_BYTES_MAX: u64 = 8 << 20;
const INDEX_DEPTH_MAX: usize = 4;
const NAME_ANNOTATIONS: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    #[error("cannot read the archive")]
    Io(#[source] io::Error),
    #[error("the archive is neither an OCI layout nor a docker archive: it has no manifest.json and no index.json")]
    Unknown,
    #[error("the archive lacks {0:?}")]
    Missing(String),
    #[error("{0:?} is above its limit")]
    TooLarge(String),
    #[error("{0:?} does not have the digest of its name")]
    Digest(String),
    #[error("cannot read manifest.json")]
    Json(#[source] serde_json::Error),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("the archive names no image for this node's platform: no match for platform in manifest: not found")]
    NoImage,
}

/// Where a file is in the archive, or which other one it is.
#[derive(Clone, Debug)]
enum Place {
    At { offset: u64, size: u64 },
    Link(String),
}

/// An archive with its files' places; plain tar only.
pub(crate) struct ImageArchive {
    file: File,
    places: BTreeMap<String, Place>,
}

/// One image of an archive.
#[derive(Debug)]
pub(crate) struct ArchivedImage {
    pub names: Vec<String>,
    /// Digest of its manifest, where the archive has one.
    pub manifest_digest: Option<String>,
    pub config_digest: String,
    pub config: ConfigDocument,
    /// Paths in the archive.
    pub layers: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerManifest {
    config: String,
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

impl ImageArchive {
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        let file = File::open(path).map_err(ArchiveError::Io)?;
        let mut places = BTreeMap::new();
        let mut tar = Tar::new(&file);
        for entry in tar.entries_with_seek().map_err(ArchiveError::Io)? {
            let entry = entry.map_err(ArchiveError::Io)?;
            if places.len() == ENTRIES_MAX {
                return Err(ArchiveError::TooLarge("the list of files".into()));
            }
            let name = tidy(&String::from_utf8_lossy(&entry.path_bytes()));
            let link =
                || entry.link_name_bytes().map(|link| String::from_utf8_lossy(&link).into_owned()).unwrap_or_default();
            let place = match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => {
                    Place::At { offset: entry.raw_file_position(), size: entry.size() }
                }
                EntryType::Link => Place::Link(tidy(&link())),
                // Older versions of docker point one layer's tar at another's.
                EntryType::Symlink => {
                    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                    Place::Link(tidy(&format!("{folder}/{}", link())))
                }
                _ => continue,
            };
            places.insert(name, place);
        }
        Ok(Self { file, places })
    }

    fn place(&self, name: &str) -> Result<(u64, u64), ArchiveError> {
        let mut name = tidy(name);
        for _ in 0..INDEX_DEPTH_MAX {
            match self.places.get(&name) {
                Some(Place::At { offset, size }) => return Ok((*offset, *size)),
                Some(Place::Link(target)) => name = target.clone(),
                None => break,
            }
        }
        Err(ArchiveError::Missing(name))
    }

    /// One file's content.
    pub fn content(&self, name: &str) -> Result<io::Take<File>, ArchiveError> {
        let (offset, size) = self.place(name)?;
        // Opened anew: a clone would share its position with every other reader.
        let mut file = File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&self.file)))
            .map_err(ArchiveError::Io)?;
        file.seek(SeekFrom::Start(offset)).map_err(ArchiveError::Io)?;
        Ok(file.take(size))
    }

    fn document(&self, name: &str) -> Result<Vec<u8>, ArchiveError> {
        if self.place(name)?.1 > DOCUMENT_BYTES_MAX {
            return Err(ArchiveError::TooLarge(name.into()));
        }
        let mut bytes = Vec::new();
        self.content(name)?.read_to_end(&mut bytes).map_err(ArchiveError::Io)?;
        Ok(bytes)
    }

    fn blob(&self, digest: &str) -> Result<Vec<u8>, ArchiveError> {
        let path = blob_path(digest)?;
        let bytes = self.document(&path)?;
        if sha256(&bytes) == digest { Ok(bytes) } else { Err(ArchiveError::Digest(path)) }
    }

    /// All images of the archive that this platform can run.
    pub fn images(&self, platform: &Platform) -> Result<Vec<ArchivedImage>, ArchiveError> {
        if self.places.contains_key("manifest.json") {
            return self.docker_images();
        }
        if !self.places.contains_key("index.json") {
            return Err(ArchiveError::Unknown);
        }
        let Manifest::Index(entries) = Manifest::parse(&self.document("index.json")?, crate::manifest::INDEX_TYPES[0])?
        else {
            return Err(ArchiveError::Unknown);
        };
        let mut images: Vec<ArchivedImage> = Vec::new();
        for entry in &entries {
            let Some(mut image) = self.oci_image(entry, platform)? else { continue };
            let name = NAME_ANNOTATIONS.iter().find_map(|key| entry.annotations.get(*key));
            image.names =
                name.and_then(|name| name.parse::<Reference>().ok()).map(|name| name.to_string()).into_iter().collect();
            match images.iter_mut().find(|known| known.manifest_digest == image.manifest_digest) {
                Some(known) => known.names.append(&mut image.names),
                None => images.push(image),
            }
        }
        if images.is_empty() { Err(ArchiveError::NoImage) } else { Ok(images) }
    }

    fn docker_images(&self) -> Result<Vec<ArchivedImage>, ArchiveError> {
        let manifests: Vec<DockerManifest> =
            serde_json::from_slice(&self.document("manifest.json")?).map_err(ArchiveError::Json)?;
        let image = |manifest: DockerManifest| {
            let bytes = self.document(&manifest.config)?;
            let names = manifest.repo_tags.unwrap_or_default();
            Ok(ArchivedImage {
                names: names
                    .iter()
                    .filter_map(|name| name.parse::<Reference>().ok())
                    .map(|name| name.to_string())
                    .collect(),
                manifest_digest: None,
                config_digest: sha256(&bytes),
                config: ConfigDocument::parse(&bytes)?,
                layers: manifest.layers,
            })
        };
        manifests.into_iter().map(image).collect()
    }

    /// None where the entry is for other platforms only.
    fn oci_image(&self, entry: &Descriptor, platform: &Platform) -> Result<Option<ArchivedImage>, ArchiveError> {
        entry.check()?;
        let mut entry = entry.clone();
        for _ in 0..INDEX_DEPTH_MAX {
            match Manifest::parse(&self.blob(&entry.digest)?, &entry.media_type)? {
                Manifest::Index(entries) => match choose(&entries, platform) {
                    Ok(best) => entry = best.clone(),
                    Err(ManifestError::NoPlatform) => return Ok(None),
                    Err(error) => return Err(error.into()),
                },
                Manifest::Image { config, layers } => {
                    let bytes = self.blob(&config.digest)?;
                    return Ok(Some(ArchivedImage {
                        names: Vec::new(),
                        manifest_digest: Some(entry.digest),
                        config_digest: config.digest,
                        config: ConfigDocument::parse(&bytes)?,
                        layers: layers.iter().map(|layer| blob_path(&layer.digest)).collect::<Result<_, _>>()?,
                    }));
                }
            }
        }
        Ok(None)
    }
}

fn blob_path(digest: &str) -> Result<String, ManifestError> {
    match digest.strip_prefix("sha256:") {
        Some(hex) if is_sha256_hex(hex) => Ok(format!("blobs/sha256/{hex}")),
        _ => Err(ManifestError::Digest(digest.into())),
    }
}

/// A name as a key only; nothing is ever opened by it.
fn tidy(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
