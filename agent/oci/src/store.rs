//! What is kept on disk.
//!
//! ```text
//! DIR/images/lock                    shared while images are added, exclusive while they are removed
//! DIR/images/names/<sha256 of name>  an image's record (JSON), written whole and renamed
//! DIR/images/tmp/<pid>-<n>           downloads; gone at the next start
//! DIR/layers/<chain id>/fs           an unpacked layer, complete since it got its name by a rename
//! DIR/layers/<chain id>/size         its bytes
//! DIR/layers/new-<pid>-<n>/          a layer that is being unpacked or removed; gone at the next start
//! ```
//!
//! An image that was taken in is there after a power cut, whole. One that was removed may be there again, whole, or not:
//! a record counts only where all of its layers are there, and a layer's name is gone from the disk before its files go.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use control_api::image::reference::is_sha256_hex;
use ring::digest::{SHA256, digest};

use crate::{
    error::StoreError,
    image::Image,
    images::Limits,
    unpack::{UnpackError, hex, unpack},
};

/// A record above this was not written here.
const RECORD_BYTES_MAX: u64 = 8 << 20;

static NEXT: AtomicU64 = AtomicU64::new(0);

#[derive(Debug)]
pub(crate) struct Store {
    data_dir: PathBuf,
}

/// A file that goes with the value.
#[derive(Debug)]
pub(crate) struct Temporary(PathBuf);

impl Temporary {
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = if self.0.is_dir() { fs::remove_dir_all(&self.0) } else { fs::remove_file(&self.0) };
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("failed to extract layer {diff_id}")]
    Unpack {
        diff_id: String,
        #[source]
        source: UnpackError,
    },
}

/// A layer's place in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    pub diff_id: String,
    pub chain_id: String,
}

/// Names each layer by all that is below it, as the image specification has it.
pub(crate) fn chain(diff_ids: &[String]) -> Vec<Layer> {
    let mut chain: Vec<Layer> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let chain_id = match chain.last() {
            None => diff_id.clone(),
            Some(below) => sha256(format!("{} {diff_id}", below.chain_id).as_bytes()),
        };
        chain.push(Layer { diff_id: diff_id.clone(), chain_id });
    }
    chain
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(digest(&SHA256, bytes).as_ref()))
}

impl Store {
    pub fn open(data_dir: PathBuf) -> Result<Self, StoreError> {
        let store = Self { data_dir };
        store.make_folders()?;
        let lock = store.lock_file()?;
        // Another process at work has the lock: what it unpacks is not left over.
        if lock.try_lock().is_ok() {
            store.clear_leftovers()?;
        }
        Ok(store)
    }

    /// They are found again after a power cut.
    fn make_folders(&self) -> Result<(), StoreError> {
        let folders = [self.names(), self.tmp(), self.layers()];
        if folders.iter().all(|folder| folder.is_dir()) {
            return Ok(());
        }
        for folder in &folders {
            fs::create_dir_all(folder).map_err(io_at("create", folder))?;
        }
        sync(&self.data_dir.join("images"))?;
        sync(&self.data_dir)
    }

    fn clear_leftovers(&self) -> Result<(), StoreError> {
        // One that was to be removed must not get its name back when half of it is gone.
        sync(&self.layers())?;
        for (folder, prefix) in [(self.tmp(), ""), (self.layers(), "new-"), (self.names(), "new-")] {
            for entry in fs::read_dir(&folder).map_err(io_at("list", &folder))? {
                let path = entry.map_err(io_at("list", &folder))?.path();
                if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)) {
                    drop(Temporary(path));
                }
            }
        }
        self.forget_incomplete()
    }

    /// A name whose layers went, or whose record is torn, must not come back with an old image once others bring the
    /// same layers.
    fn forget_incomplete(&self) -> Result<(), StoreError> {
        let folder = self.names();
        let mut forgotten = false;
        for entry in fs::read_dir(&folder).map_err(io_at("list", &folder))? {
            let path = entry.map_err(io_at("list", &folder))?.path();
            if matches!(self.read(&path), Ok(None) | Err(StoreError::Corrupt { .. })) {
                tracing::warn!(path = %path.display(), "an image's record is damaged, or lacks layers; it is fetched again");
                fs::remove_file(&path).map_err(io_at("remove", &path))?;
                forgotten = true;
            }
        }
        if forgotten { sync(&folder) } else { Ok(()) }
    }

    fn names(&self) -> PathBuf {
        self.data_dir.join("images/names")
    }

    fn tmp(&self) -> PathBuf {
        self.data_dir.join("images/tmp")
    }

    fn layers(&self) -> PathBuf {
        self.data_dir.join("layers")
    }

    fn lock_file(&self) -> Result<File, StoreError> {
        let path = self.data_dir.join("images/lock");
        fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(io_at("open", &path))
    }

    /// Held while images are added: nothing is removed meanwhile.
    pub fn adding(&self) -> Result<File, StoreError> {
        let lock = self.lock_file()?;
        lock.lock_shared().map_err(io_at("lock", &self.data_dir))?;
        Ok(lock)
    }

    /// Held while images are removed; busy where some are being added.
    pub fn removing(&self) -> Result<File, StoreError> {
        let lock = self.lock_file()?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(fs::TryLockError::WouldBlock) => Err(StoreError::Busy),
            Err(fs::TryLockError::Error(source)) => Err(io_at("lock", &self.data_dir)(source)),
        }
    }

    pub fn temporary(&self) -> Temporary {
        Temporary(self.tmp().join(unique()))
    }

    fn record_path(&self, name: &str) -> PathBuf {
        self.names().join(hex(digest(&SHA256, name.as_bytes()).as_ref()))
    }

    pub fn save(&self, image: &Image) -> Result<(), StoreError> {
        let path = self.record_path(&image.name);
        let new = Temporary(self.names().join(format!("new-{}", unique())));
        let json = serde_json::to_vec(image).expect("an image holds only strings and numbers");
        let write = || -> io::Result<()> {
            let mut file = File::create(new.path())?;
            file.write_all(&json)?;
            file.sync_all()?;
            fs::rename(new.path(), &path)?;
            File::open(self.names())?.sync_all()
        };
        write().map_err(io_at("write", &path))
    }

    /// The image of exactly this name, where all of it is here.
    pub fn load(&self, name: &str) -> Result<Option<Image>, StoreError> {
        match self.read(&self.record_path(name)) {
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::warn!(name, %error, "an image's record is damaged; it counts as none and is fetched again");
                Ok(None)
            }
            read => read,
        }
    }

    fn read(&self, path: &Path) -> Result<Option<Image>, StoreError> {
        let bytes = match fs::metadata(path) {
            Ok(meta) if meta.len() > RECORD_BYTES_MAX => return Err(StoreError::Corrupt { path: path.into() }),
            Ok(_) => fs::read(path).map_err(io_at("read", path))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_at("read", path)(error)),
        };
        let image: Image = serde_json::from_slice(&bytes).map_err(|_| StoreError::Corrupt { path: path.into() })?;
        Ok(image.layers.iter().all(|chain_id| self.has_layer(chain_id)).then_some(image))
    }

    pub fn list(&self) -> Result<Vec<Image>, StoreError> {
        let folder = self.names();
        let mut images = Vec::new();
        for entry in fs::read_dir(&folder).map_err(io_at("list", &folder))? {
            let path = entry.map_err(io_at("list", &folder))?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("new-")) {
                continue;
            }
            match self.read(&path) {
                Ok(image) => images.extend(image),
                // One bad record hides one image, not all of them.
                Err(error) => tracing::warn!(%error, "an image's record cannot be read"),
            }
        }
        images.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(images)
    }

    pub fn forget(&self, name: &str) -> Result<bool, StoreError> {
        let path = self.record_path(name);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(io_at("remove", &path)(error)),
        }
    }

    fn layer(&self, chain_id: &str) -> PathBuf {
        self.layers().join(chain_id.trim_start_matches("sha256:"))
    }

    pub fn layer_fs(&self, chain_id: &str) -> PathBuf {
        self.layer(chain_id).join("fs")
    }

    pub fn has_layer(&self, chain_id: &str) -> bool {
        self.layer_fs(chain_id).is_dir()
    }

    pub fn layer_bytes(&self, chain_id: &str) -> u64 {
        fs::read_to_string(self.layer(chain_id).join("size"))
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0)
    }

    /// Unpacks one layer whose lower ones are all here, and gives it its name only when it is whole and on the card.
    pub fn install(
        &self,
        layers: &[Layer],
        index: usize,
        content: impl io::Read + Send,
        limits: &Limits,
    ) -> Result<(), InstallError> {
        let layer = &layers[index];
        if self.has_layer(&layer.chain_id) {
            return Ok(());
        }
        let new = Temporary(self.layers().join(format!("new-{}", unique())));
        let root = new.path().join("fs");
        fs::create_dir_all(&root).map_err(io_at("create", &root))?;
        fs::set_permissions(&root, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .map_err(io_at("set the mode of", &root))?;
        let lower: Vec<PathBuf> = layers[..index].iter().rev().map(|layer| self.layer_fs(&layer.chain_id)).collect();
        let unpacked = unpack(content, &root, &lower, &layer.diff_id, limits)
            .map_err(|source| InstallError::Unpack { diff_id: layer.diff_id.clone(), source })?;
        let target = self.layer(&layer.chain_id);
        let settle = || -> io::Result<()> {
            fs::write(new.path().join("size"), unpacked.bytes.to_string())?;
            // One call for all files: a sync for each would take minutes on a card.
            rustix::fs::syncfs(File::open(new.path())?)?;
            match fs::rename(new.path(), &target) {
                Err(_) if target.join("fs").is_dir() => Ok(()),
                other => other,
            }?;
            File::open(self.layers())?.sync_all()
        };
        settle().map_err(io_at("write", &target))?;
        Ok(())
    }

    /// Removes every layer that is not in `keep`; answers with their number and bytes.
    pub fn remove_layers(&self, keep: impl Fn(&str) -> bool) -> Result<(usize, u64), StoreError> {
        let folder = self.layers();
        let mut dead = Vec::new();
        let hidden = self.hide_layers(keep, &mut dead);
        if let Err(error) = sync(&folder) {
            // They stay where they are out of sight, for the next start to remove.
            dead.into_iter().for_each(std::mem::forget);
            return Err(error);
        }
        hidden
    }

    /// Out of sight first: half a layer must not look like one after a crash, nor after a power cut.
    fn hide_layers(&self, keep: impl Fn(&str) -> bool, dead: &mut Vec<Temporary>) -> Result<(usize, u64), StoreError> {
        let folder = self.layers();
        let (mut count, mut bytes) = (0, 0);
        for entry in fs::read_dir(&folder).map_err(io_at("list", &folder))? {
            let entry = entry.map_err(io_at("list", &folder))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let chain_id = format!("sha256:{name}");
            if !is_sha256_hex(&name) || keep(&chain_id) {
                continue;
            }
            let size = self.layer_bytes(&chain_id);
            let hidden = folder.join(format!("new-{}", unique()));
            fs::rename(entry.path(), &hidden).map_err(io_at("remove", &entry.path()))?;
            dead.push(Temporary(hidden));
            count += 1;
            bytes += size;
        }
        Ok((count, bytes))
    }
}

fn sync(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|open| open.sync_all()).map_err(io_at("sync", folder))
}

fn unique() -> String {
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn io_at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    move |source| StoreError::Io { action, path, source }
}
