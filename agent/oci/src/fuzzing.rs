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

/// A layer's tar into the empty folder `target`; whether it is taken does not matter.
pub fn layer(tar: &[u8], target: &Path) {
    let limits = Limits { unpacked_bytes_max: 1 << 20, files_max: 1000, ..Limits::default() };
    let _ = crate::unpack::unpack(tar, target, &[], "", &limits);
}
