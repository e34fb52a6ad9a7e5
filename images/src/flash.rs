//! `bramble card flash`: writes an image to a card, and reads it back.
//!
//! ```text
//! disk: is it one, and nobody's? -> image: read once, whole? fits? -> asked -> written -> read back past the page cache
//! ```
//!
//! Nothing is written before an image was read to its end, so that a damaged download leaves the card as it was. The disk
//! is claimed from the kernel for as long as it is written: whatever mounts it meanwhile is refused.

mod disks;
mod image;
mod progress;
mod target;

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use self::disks::{Disk, Kernel};
use self::image::Image;
use self::target::Target;

/// What is to be written where.
#[derive(Debug, Clone)]
pub struct Flash {
    /// An image, as it is or packed by zstd, xz or gzip.
    pub image: PathBuf,
    /// The disk; without one, those that could be are listed.
    pub to: Option<PathBuf>,
    /// Do not ask.
    pub yes: bool,
    /// `to` may be a file too.
    pub into_file: bool,
}

/// Lists disks, or writes one.
pub fn flash(request: &Flash) -> Result<()> {
    let kernel = Kernel::running();
    let Some(to) = &request.to else {
        print!("{}", disks::render(&kernel.disks()?));
        bail!("say which disk: --to /dev/NAME");
    };
    let to_file = request.into_file && !is_device(to);
    let disk = if to_file { None } else { Some(chosen(&kernel, to)?) };
    let image = Image::open(&request.image)?;
    if let Some(disk) = &disk {
        disk.check(image.least_bytes())?;
    }
    let whole = image.measure()?;
    ensure!(whole.bootable, "{} is no image of a card: it has no partition table", request.image.display());
    if let Some(disk) = &disk {
        disk.check(whole.bytes)?;
        if !request.yes {
            ask(disk)?;
        }
    }
    let mut target = match &disk {
        Some(disk) => Target::disk(&disk.path(), disk.block_bytes)?,
        None => Target::file(to)?,
    };
    let written = target.write(&image, &whole)?;
    target.verify(&written)?;
    let name = disk.map_or_else(|| to.display().to_string(), |disk| disk.path().display().to_string());
    println!("{name} holds {} now, read back and compared", request.image.display());
    Ok(())
}

fn is_device(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::metadata(path).is_ok_and(|data| data.file_type().is_block_device() || data.file_type().is_char_device())
}

/// The disk of that name, if it is one and nobody uses it.
fn chosen(kernel: &Kernel, to: &Path) -> Result<Disk> {
    let place = to.canonicalize().with_context(|| format!("there is no {}", to.display()))?;
    ensure!(is_device(&place), "{} is no disk", to.display());
    let disk = kernel.find(&place)?;
    disk.check(0)?;
    Ok(disk)
}

/// Everything on a disk is about to be lost: a person says yes to its name, model and size.
fn ask(disk: &Disk) -> Result<()> {
    let mut out = std::io::stderr();
    write!(out, "Everything on {disk} will be lost. Go on? Type yes: ").context("cannot ask")?;
    out.flush().context("cannot ask")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
    if answer.trim() == "yes" {
        return Ok(());
    }
    let hint = if std::io::stdin().is_terminal() { "" } else { "; without a terminal, give --yes" };
    bail!("nothing was written{hint}")
}
