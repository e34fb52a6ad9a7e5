//! Doors for the fuzz targets to decoders that no one outside calls.

use std::path::Path;

use crate::images::Limits;
use crate::manifest::{ConfigDocument, INDEX_TYPES, MANIFEST_TYPES, Manifest, choose};
use control_api::image::Platform;

/// A manifest, an index or a configuration.
pub fn documents(bytes: &[u8]) {
    let platform = Platform::new("arm", Some("v7"));
    for kind in INDEX_TYPES.iter().chain(&MANIFEST_TYPES).chain(&[""]) {
        if let Ok(Manifest::Index(entries)) = Manifest::parse(bytes, kind) {
            let _ = choose(&entries, &platform);
        }
    }
    if let Ok(config) = ConfigDocument::parse(bytes) {
        let _ = config.diff_ids(1, 1, &platform);
        let _ = config.image_config();
    }
}

/// A `WWW-Authenticate` header.
pub fn challenge(text: &str) {
    crate::registry::fuzz_challenge(text);
}

/// `user` looked up in an image's passwd and group files.
pub fn user(passwd: &str, group: &str, user: &str) {
    if let Ok(ids) = crate::user::resolve(passwd, group, user) {
        assert!(!ids.home.is_empty());
    }
}

/// What is in a pull secret.
pub fn docker_config(json: &[u8]) {
    let mut credentials = crate::Credentials::none();
    if credentials.add_docker_config(json).is_ok()
        && let Ok(reference) = "registry.example/team/app:1".parse()
    {
        let _ = credentials.of(&reference);
    }
}

/// A layer's tar into the empty folder `target`; whether it is taken does not matter.
pub fn layer(tar: &[u8], target: &Path) {
    let limits = Limits { unpacked_bytes_max: 1 << 20, files_max: 1000, ..Limits::default() };
    let _ = crate::unpack::unpack(tar, target, &[], "", &limits);
}
