//! Bramble's own two programs for a card's architecture.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::board::Architecture;

pub const NAMES: [&str; 2] = ["bramble", "bramble-agent"];

/// The folder that holds them: the one that was asked for, or where a build or a package has put them.
pub fn find(asked: Option<&Path>, architecture: Architecture) -> Result<PathBuf> {
    let name = architecture.source()?.programs;
    let folder = match asked {
        Some(folder) => folder.to_owned(),
        None => {
            let own = std::env::current_exe().context("this program does not know where it lies")?;
            let target = own.parent().and_then(Path::parent).map(|target| target.join("dist").join(&name));
            let installed = Path::new("/usr/lib/bramble").join(&name);
            let places: Vec<PathBuf> = target.into_iter().chain([installed]).collect();
            let found = places.iter().find(|place| NAMES.iter().all(|program| place.join(program).is_file()));
            found.cloned().with_context(|| {
                let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
                format!(
                    "there are no programs for {architecture} in {}: make them with scripts/build-release {name}, or say \
                     where they are with --binaries",
                    places.join(" or ")
                )
            })?
        }
    };
    for program in NAMES {
        check(&folder.join(program), architecture)?;
    }
    Ok(folder)
}

/// An ELF program for this machine, whatever its name says.
fn check(program: &Path, architecture: Architecture) -> Result<()> {
    let mut head = [0; 20];
    let read = File::open(program).and_then(|mut file| file.read_exact(&mut head));
    read.with_context(|| format!("cannot read {}", program.display()))?;
    let machine = u16::from_le_bytes([head[18], head[19]]);
    if !head.starts_with(b"\x7fELF") || machine != architecture.elf_machine() {
        bail!("{} is no program for {architecture}", program.display());
    }
    Ok(())
}
