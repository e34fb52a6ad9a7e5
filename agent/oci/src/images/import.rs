use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use super::Shared;
use crate::{
    archive::{ArchiveError, ArchivedImage, ImageArchive},
    error::StoreError,
    image::Image,
    store::{InstallError, chain, io_at},
    unpack::decompress,
};

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Install(#[from] InstallError),
    #[error("the archive is above the limit of {0} bytes")]
    TooLarge(u64),
}

/// Takes in every image of an archive and answers with their names. Runs on a thread that may block.
pub(super) fn import(shared: &Arc<Shared>, path: &Path) -> Result<Vec<String>, Error> {
    let _adding = shared.store.adding()?;
    let plain = shared.store.temporary();
    let mut input = File::open(path).map_err(io_at("open", path))?;
    // A seekable regular tar is read in place; anything else is written out once.
    let archive = if is_plain_tar(&mut input).map_err(io_at("read", path))? {
        ImageArchive::open(path)?
    } else {
        let limit = shared.config.limits.unpacked_bytes_max;
        let input = File::open(path).map_err(io_at("open", path))?;
        spool(input, plain.path(), limit)?;
        ImageArchive::open(plain.path())?
    };
    let images = archive.images(&shared.config.platform)?;
    let mut names = Vec::new();
    for image in images {
        names.extend(take(shared, &archive, image)?);
    }
    Ok(names)
}

/// From a pipe, say.
pub(super) fn import_stream(shared: &Arc<Shared>, from: impl Read + Send) -> Result<Vec<String>, Error> {
    let spooled = shared.store.temporary();
    spool(from, spooled.path(), shared.config.limits.unpacked_bytes_max)?;
    import(shared, spooled.path())
}

fn spool(from: impl Read + Send, to: &Path, limit: u64) -> Result<(), Error> {
    let at = io_at("write", to);
    let copy = || -> io::Result<u64> {
        let mut file = fs::OpenOptions::new().create_new(true).write(true).open(to)?;
        io::copy(&mut decompress(from)?.take(limit + 1), &mut file)
    };
    if copy().map_err(at)? > limit { Err(Error::TooLarge(limit)) } else { Ok(()) }
}

fn is_plain_tar(file: &mut File) -> io::Result<bool> {
    let mut start = Vec::new();
    if !file.metadata()?.is_file() {
        return Ok(false);
    }
    file.take(512).read_to_end(&mut start)?;
    Ok(start.get(257..262) == Some(b"ustar"))
}

fn take(shared: &Arc<Shared>, archive: &ImageArchive, image: ArchivedImage) -> Result<Vec<String>, Error> {
    let limits = &shared.config.limits;
    let diff_ids = image
        .config
        .diff_ids(image.layers.len(), limits.layers_max, &shared.config.platform)
        .map_err(ArchiveError::Manifest)?;
    let layers = chain(&diff_ids);
    for (index, path) in image.layers.iter().enumerate() {
        shared.store.install(&layers, index, archive.content(path)?, limits)?;
    }
    let chain_ids: Vec<String> = layers.into_iter().map(|layer| layer.chain_id).collect();
    // An image without a name is known by its id.
    let names = if image.names.is_empty() { vec![image.config_digest.clone()] } else { image.names };
    let size_bytes = chain_ids.iter().map(|layer| shared.store.layer_bytes(layer)).sum();
    let config = image.config.image_config();
    for name in &names {
        shared.store.save(&Image {
            name: name.clone(),
            digest: image.manifest_digest.clone().unwrap_or_else(|| image.config_digest.clone()),
            id: image.config_digest.clone(),
            repo_digest: None,
            size_bytes,
            config: config.clone(),
            layers: chain_ids.clone(),
        })?;
    }
    Ok(names)
}
