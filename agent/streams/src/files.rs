//! The files of one container: `N.log` for its Nth start, older parts of it as `N.log.TIMESTAMP`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Files of one start of a container, oldest first; the last is the one that is written to.
pub fn of_attempt(folder: &Path, attempt: u32) -> io::Result<Vec<PathBuf>> {
    let current = format!("{attempt}.log");
    let prefix = format!("{current}.");
    let mut rotated = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.starts_with(&prefix) && !name.ends_with(".tmp") && !name.ends_with(".gz") {
            rotated.push(name.to_owned());
        }
    }
    // The shim names older parts by the time of their rotation, in a form that sorts.
    rotated.sort_unstable();
    let mut files: Vec<PathBuf> = rotated.into_iter().map(|name| folder.join(name)).collect();
    files.push(folder.join(current));
    Ok(files)
}

/// The starts that left a log, lowest first.
pub fn attempts(folder: &Path) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number: Option<u32> =
            name.to_str().and_then(|name| name.strip_suffix(".log")).and_then(|number| number.parse().ok());
        found.extend(number);
    }
    found.sort_unstable();
    Ok(found)
}
