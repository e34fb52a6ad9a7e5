//! Where a container's mounts wait for it when its root is nobody on the host: such a root may not walk down to them,
//! since the folders above are the host's. So a worker, still as the host's root, puts them where everybody may walk,
//! in a mount namespace of its own that ends with the container's start.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::idmap;
use crate::layout::SandboxDir;

/// Folders that machines have and that nothing of a container is read from once its mounts are held.
const PLACES: [&str; 2] = ["/run", "/tmp"];

/// What a container's configuration names, and where it finds it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stage {
    place: PathBuf,
    /// The pod's user namespace.
    pub users: PathBuf,
    /// The host's id of that namespace's root.
    pub first_id: u32,
    props: Vec<Prop>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Prop {
    source: PathBuf,
    /// With owners as the user namespace has them.
    mapped: bool,
}

impl Stage {
    /// Has the configuration of a container name the stage wherever it named the host.
    pub fn divert(config: &mut Value, dir: &SandboxDir, first_id: u32) -> Self {
        let mut stage = Self { place: place(&dir.0), users: dir.namespace("user"), first_id, props: Vec::new() };
        stage.take(&mut config["root"]["path"], false);
        for namespace in config["linux"]["namespaces"].as_array_mut().into_iter().flatten() {
            let path = namespace["path"].as_str().unwrap_or_default();
            if Path::new(path).starts_with(&dir.0) {
                stage.take(&mut namespace["path"], false);
            }
        }
        for mount in config["mounts"].as_array_mut().into_iter().flatten() {
            if mount["type"] == "bind" {
                // The pod's own memory was made for its root, and its files have the host's ids.
                let mapped = mount["source"] != json!(dir.shm());
                stage.take(&mut mount["source"], mapped);
            }
        }
        stage
    }

    fn take(&mut self, path: &mut Value, mapped: bool) {
        let staged = self.path(self.props.len());
        let source = path.as_str().unwrap_or_default().into();
        *path = json!(staged);
        self.props.push(Prop { source, mapped });
    }

    fn path(&self, index: usize) -> PathBuf {
        self.place.join(index.to_string())
    }

    /// Before a container is made: everything is in its place.
    pub fn set(&self) -> io::Result<()> {
        self.enter()?;
        let users = File::open(&self.users)?;
        let held = self.props.iter().map(|prop| prop.hold(&users)).collect::<io::Result<Vec<OwnedFd>>>()?;
        self.cover()?;
        for (index, (prop, tree)) in self.props.iter().zip(held).enumerate() {
            let path = self.path(index);
            if fs::metadata(&prop.source)?.is_dir() {
                fs::create_dir(&path)?;
            } else {
                File::create(&path)?;
            }
            idmap::attach(&tree, &path)?;
        }
        Ok(())
    }

    /// Before an exec, of which the library wants to see the root and nothing else.
    pub fn set_root(&self) -> io::Result<()> {
        self.enter()?;
        self.cover()?;
        fs::create_dir(self.path(0))
    }

    fn enter(&self) -> io::Result<()> {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let none: Option<&str> = None;
        Ok(mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)?)
    }

    fn cover(&self) -> io::Result<()> {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        Ok(mount(Some("stage"), &self.place, Some("tmpfs"), flags, Some("mode=755,size=1m"))?)
    }
}

impl Prop {
    fn hold(&self, users: &File) -> io::Result<OwnedFd> {
        let tree = idmap::copy(&self.source, true)?;
        if self.mapped {
            idmap::map(&tree, users, 0, &self.source)?;
        }
        Ok(tree)
    }
}

/// Not above the pod's own folder, which workers go on using by its name.
pub(crate) fn place(dir: &Path) -> PathBuf {
    let dir = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let free = PLACES.iter().find(|place| !dir.starts_with(place));
    free.map_or_else(|| PLACES[0].into(), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_names_the_host_nowhere() {
        let dir = SandboxDir("/data/run/1".into());
        let mut config = json!({
            "root": { "path": "/data/containers/c/rootfs" },
            "mounts": [
                { "type": "proc", "source": "proc" },
                { "type": "bind", "source": "/data/run/1/shm" },
                { "type": "bind", "source": "/data/pods/1/volumes/v" },
            ],
            "linux": { "namespaces": [
                { "type": "mount" },
                { "type": "user", "path": "/data/run/1/ns/user" },
                { "type": "pid", "path": "/proc/7/ns/pid" },
            ] },
        });
        let stage = Stage::divert(&mut config, &dir, 65_536);
        assert_eq!(config["root"]["path"], "/run/0");
        assert_eq!(config["linux"]["namespaces"][1]["path"], "/run/1");
        assert_eq!(config["linux"]["namespaces"][2]["path"], "/proc/7/ns/pid");
        assert_eq!(config["mounts"][0]["source"], "proc");
        assert_eq!(
            (&config["mounts"][1]["source"], &config["mounts"][2]["source"]),
            (&json!("/run/2"), &json!("/run/3"))
        );
        let mapped: Vec<bool> = stage.props.iter().map(|prop| prop.mapped).collect();
        assert_eq!(mapped, [false, false, false, true]);
        assert_eq!(place("/run/bramble/run/1".as_ref()), Path::new("/tmp"));
    }
}
