//! Logs of earlier starts of a container: the last one is kept, for `kubectl logs --previous`, as the kubelet does.

use std::fs;
use std::io;
use std::path::Path;

/// Removes from a container's folder what its starts before the last two left: `N.log`, and older parts of it behind a
/// further dot. `newest` is the number of the last one.
pub fn remove(folder: &Path, newest: u32) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_old =
            start(&entry.file_name().to_string_lossy()).is_some_and(|number| number.saturating_add(1) < newest);
        if is_old {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Which start of the container a file is of.
fn start(name: &str) -> Option<u32> {
    let (number, rest) = name.split_once('.')?;
    (rest == "log" || rest.starts_with("log.")).then(|| number.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_two_starts_keep_their_logs_and_what_is_no_log_stays() {
        let folder = tempfile::tempdir().unwrap();
        let names =
            ["0.log", "1.log", "1.log.20261130-120000", "2.log", "2.log.20261130-120000", "3.log", "notes", "0.txt"];
        for name in names {
            fs::write(folder.path().join(name), "").unwrap();
        }
        remove(folder.path(), 3).unwrap();
        let mut left: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["0.txt", "2.log", "2.log.20261130-120000", "3.log", "notes"]);
    }
}
