//! What a build keeps for the next one: below `$XDG_CACHE_HOME/bramble/cards` or `~/.cache/bramble/cards`.
//!
//! An entry is named by its kind and by the hash of all it was made of, is made in a draft and moved into place whole. Of
//! each kind and architecture only the newest few are kept.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};
use ring::digest;

/// Old entries of a kind that stay: a card with other programs, or of yesterday's packages, is often built again.
const KEPT_MAX: usize = 3;

const READ_BYTES: usize = 1 << 16;

/// Held while a build uses the cache: a second one waits.
pub struct Cache {
    folder: PathBuf,
    _lock: Flock<File>,
}

/// Collects what an entry is made of.
pub struct Key(digest::Context);

impl Key {
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.0.update(&(text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
        self
    }

    pub fn file(mut self, path: &Path) -> Result<Self> {
        let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let read = file.read(&mut buffer).with_context(|| format!("cannot read {}", path.display()))?;
            if read == 0 {
                return Ok(self);
            }
            self.0.update(&buffer[..read]);
        }
    }

    /// 16 hex digits.
    pub fn finish(self) -> String {
        self.0.finish().as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Default for Key {
    fn default() -> Self {
        Self::new()
    }
}

/// Where it lies where nobody says otherwise.
pub fn default_folder() -> Result<PathBuf> {
    let home = || std::env::var_os("HOME").filter(|home| !home.is_empty()).map(|home| Path::new(&home).join(".cache"));
    let base = std::env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()).map(PathBuf::from).or_else(home);
    Ok(base.context("neither XDG_CACHE_HOME nor HOME is set: packages are kept there")?.join("bramble/cards"))
}

impl Cache {
    pub fn open(folder: &Path) -> Result<Self> {
        let what = || format!("cannot use the cache {}", folder.display());
        fs::create_dir_all(folder).with_context(what)?;
        let folder = folder.canonicalize().with_context(what)?;
        let file = File::create(folder.join("lock")).with_context(what)?;
        let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error).with_context(what)?;
        // Drafts of a build that was killed: nobody else is here.
        for entry in fs::read_dir(&folder).with_context(what)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with("draft-") {
                remove(&entry.path());
            }
        }
        Ok(Self { folder, _lock: lock })
    }

    /// A folder of its own for something that renews itself, as apt's lists.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(folder)
    }

    /// An empty folder that is gone with the value.
    pub fn draft(&self) -> Result<tempfile::TempDir> {
        let draft = tempfile::Builder::new().prefix("draft-").tempdir_in(&self.folder);
        draft.with_context(|| format!("cannot create a folder in {}", self.folder.display()))
    }

    /// The folder of this kind and key: as it is, or made now by `make` in a draft.
    pub fn entry(&self, kind: &str, key: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let place = self.folder.join(format!("{kind}-{key}"));
        if !place.exists() {
            let draft = self.draft()?;
            make(draft.path())?;
            let made = draft.keep();
            fs::rename(&made, &place).with_context(|| format!("cannot keep {}", place.display()))?;
        }
        drop(File::open(&place).and_then(|folder| folder.set_modified(SystemTime::now())));
        self.forget(kind);
        Ok(place)
    }

    fn forget(&self, kind: &str) {
        let is_kind =
            |name: &str| name.strip_prefix(kind).is_some_and(|rest| rest.len() == 17 && rest.starts_with('-'));
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut found: Vec<(SystemTime, PathBuf)> = entries
            .filter(|entry| is_kind(&entry.file_name().to_string_lossy()))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        found.sort();
        let old = found.len().saturating_sub(KEPT_MAX);
        for (_, path) in &found[..old] {
            remove(path);
        }
    }
}

/// Best effort: what stays costs room, no more.
fn remove(path: &Path) {
    // A package may hold folders that their owner may not write to.
    drop(crate::tools::run(crate::tools::tool("chmod").args(["-R", "u+rwX"]).arg(path)));
    drop(fs::remove_dir_all(path));
}
