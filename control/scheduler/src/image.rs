//! What a pod's images are called, in the words in which nodes list what they hold.

use std::hash::{DefaultHasher, Hash, Hasher};

use control_api::image::Reference;
use control_api::view::core::{Container, ContainerImage, PodSpec};

/// An image that a node may have to pull for a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// As the pod has it.
    pub shown: String,
    /// In full, by its digest where it has one.
    pub name: String,
    /// What a digest names does not change.
    pub pinned: bool,
}

impl Image {
    /// `None` where it is no name: the node will say so.
    fn read(shown: &str) -> Option<Self> {
        let reference: Reference = shown.parse().ok()?;
        let pinned = reference.digest.is_some();
        let name = match &reference.digest {
            Some(digest) => format!("{}@{digest}", reference.name()),
            None => reference.to_string(),
        };
        Some(Self { shown: shown.to_owned(), name, pinned })
    }
}

/// Every image once, without those that are never pulled: they are where they are.
pub fn of(spec: &PodSpec) -> Vec<Image> {
    let pulled = |container: &&Container| container.image_pull_policy.as_deref() != Some("Never");
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers).filter(pulled);
    let mut images: Vec<Image> = containers.filter_map(|found| Image::read(found.image.as_deref()?)).collect();
    images.sort_by(|a, b| a.name.cmp(&b.name));
    images.dedup_by(|a, b| a.name == b.name);
    images
}

/// The names of images that a node holds, eight bytes each: a thousand nodes list tens of thousands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held(Vec<u64>);

impl Held {
    pub fn read(images: &[ContainerImage]) -> Self {
        let names = images.iter().flat_map(|image| image.names.iter().flatten());
        let mut held: Vec<u64> = names.map(|name| digest(name)).collect();
        held.sort_unstable();
        held.dedup();
        held.shrink_to_fit();
        Self(held)
    }

    pub fn has(&self, image: &Image) -> bool {
        self.0.binary_search(&digest(&image.name)).is_ok()
    }
}

fn digest(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}
