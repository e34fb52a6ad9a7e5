//! The two parts of a card that take time to make, each kept by what it was made of.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::board::Architecture;
use crate::cache::{Cache, Key};
use crate::packages::Packages;
use crate::tools::{EPOCH, run, tool};
use crate::{data, initramfs, modules, programs, tree};

/// Changed when the way something is made changes, but not its inputs.
const EDITION: &str = "1";

/// Unpacked packages: `root`, `kernel`, `firmware`, and the finished `initrd.img`.
pub struct Base {
    pub folder: PathBuf,
    pub key: String,
}

impl Base {
    pub fn make(cache: &Cache, architecture: Architecture, packages: &Packages, say: &dyn Fn(&str)) -> Result<Self> {
        let key = data::all()
            .fold(Key::new().text(EDITION).text(architecture.name()), |key, (name, text)| key.text(name).text(text));
        let key = packages.key(key.text(include_str!("../boards/applets"))).finish();
        let folder = cache.entry(&format!("base-{architecture}"), &key, |draft| {
            say("unpacking packages");
            let (root, kernel, firmware) = (draft.join("root"), draft.join("kernel"), draft.join("firmware"));
            tree::unpack(&packages.system, &root)?;
            tree::unpack(&packages.kernel, &kernel)?;
            tree::unpack(&packages.firmware, &firmware)?;
            wifi(&[&firmware, &root], &root)?;
            tree::furnish(&root)?;
            say("choosing the kernel's modules");
            modules::install(&kernel, "modules", &root)?;
            initramfs::make(&root, &kernel, &draft.join("initrd.img"))?;
            // The modules of all other machines are most of what was unpacked.
            let unused = kernel.join("usr/lib/modules").join(modules::version(&kernel)?).join("kernel");
            fs::remove_dir_all(&unused).with_context(|| format!("cannot remove {}", unused.display()))
        })?;
        Ok(Self { folder, key })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Of the wifi firmware, what the Pis ask for.
fn wifi(from: &[&Path], root: &Path) -> Result<()> {
    let folders: Vec<PathBuf> = from.iter().map(|folder| folder.join("usr/lib/firmware")).collect();
    let draft = root.join("usr/lib/firmware.draft");
    for line in data::lines("wifi-firmware") {
        for folder in &folders {
            for file in tree::expand(folder, line) {
                let name = file.strip_prefix(folder).unwrap_or(&file);
                let to = draft.join(name);
                fs::create_dir_all(to.parent().unwrap_or(&draft)).context("no folder for firmware")?;
                drop(fs::remove_file(&to));
                let copied = match fs::read_link(&file) {
                    Ok(target) => std::os::unix::fs::symlink(target, &to),
                    Err(_) => fs::copy(&file, &to).map(drop),
                };
                copied.with_context(|| format!("cannot copy {}", name.display()))?;
            }
        }
    }
    let place = root.join("usr/lib/firmware");
    if place.exists() {
        fs::remove_dir_all(&place).context("cannot replace the firmware")?;
    }
    fs::rename(draft, place).context("Debian's firmware lacks all of the Pis' files")
}

/// The finished root with our programs in it, one file.
pub fn squashfs(
    cache: &Cache,
    architecture: Architecture,
    base: &Base,
    binaries: &Path,
    say: &dyn Fn(&str),
) -> Result<PathBuf> {
    let mut key = Key::new().text(EDITION).text(&base.key);
    for name in programs::NAMES {
        key = key.file(&binaries.join(name))?;
    }
    let folder = cache.entry(&format!("root-{architecture}"), &key.finish(), |draft| {
        say("packing the root");
        let mut command = tool("mksquashfs");
        command.env_remove("SOURCE_DATE_EPOCH");
        command.arg(base.path("root")).arg(draft.join("root.squashfs"));
        command.args(["-comp", "zstd", "-Xcompression-level", "19", "-b", "128K", "-all-root", "-all-time", EPOCH]);
        command.args(["-mkfs-time", EPOCH, "-no-xattrs", "-noappend", "-no-progress", "-quiet"]);
        for name in programs::NAMES {
            // Its own place would do for one file; its folder may be named with spaces.
            let copy = draft.join(name);
            fs::copy(binaries.join(name), &copy).with_context(|| format!("cannot copy {name}"))?;
            command.args(["-p", &format!("usr/bin/{name} f 755 0 0 cat {name}")]);
        }
        command.current_dir(draft);
        run(&mut command).context("cannot pack the root")?;
        for name in programs::NAMES {
            fs::remove_file(draft.join(name)).with_context(|| format!("cannot remove {name}"))?;
        }
        Ok(())
    })?;
    Ok(folder.join("root.squashfs"))
}

/// A kernel and its device trees, wherever this release of Debian puts them.
pub struct Kernel {
    pub image: PathBuf,
    pub device_trees: Option<PathBuf>,
}

impl Kernel {
    pub fn of(base: &Base) -> Result<Self> {
        let kernel = base.path("kernel");
        let version = modules::version(&kernel)?;
        let modules = kernel.join("usr/lib/modules").join(&version);
        let images = [modules.join("vmlinuz"), kernel.join(format!("boot/vmlinuz-{version}"))];
        let image = images.into_iter().find(|image| image.is_file()).context("the kernel's package has no kernel")?;
        let folders = [modules.join("dtb"), kernel.join(format!("usr/lib/linux-image-{version}"))];
        let folder = folders.into_iter().find(|folder| folder.is_dir());
        // arm64 has a folder for each maker.
        let device_trees =
            folder.map(|folder| Some(folder.join("broadcom")).filter(|own| own.is_dir()).unwrap_or(folder));
        Ok(Self { image, device_trees })
    }
}
