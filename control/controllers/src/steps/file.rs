//! The steps outlive a server that is started anew, for as long as its machine runs: after that nothing is left of the
//! clock that they are counted by.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Epoch, Steps};

const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// Written when the clock was set, and never waited for: a power cut ends the machine's run too.
#[derive(Debug)]
pub struct StepsFile {
    path: PathBuf,
    boot: String,
}

#[derive(Serialize, Deserialize)]
struct Written {
    boot: String,
    /// Milliseconds: since the machine's start, and what its clock showed then.
    epochs: Vec<(i64, i64)>,
}

impl StepsFile {
    pub fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), boot: fs::read_to_string(BOOT)?.trim().to_owned() })
    }

    /// None where nothing of this run of the machine was written.
    pub fn read(&self) -> Steps {
        let written = fs::read(&self.path).ok().and_then(|bytes| serde_json::from_slice::<Written>(&bytes).ok());
        let epochs = written.filter(|written| written.boot == self.boot).map(|written| written.epochs);
        let epoch = |(from, ahead)| {
            let ahead = Timestamp::from_millisecond(ahead).ok()?;
            Some(Epoch { from: SignedDuration::from_millis(from), ahead })
        };
        Steps(epochs.into_iter().flatten().filter_map(epoch).collect())
    }

    pub fn write(&self, steps: &Steps) -> io::Result<()> {
        let epoch =
            |epoch: &Epoch| (i64::try_from(epoch.from.as_millis()).unwrap_or(i64::MAX), epoch.ahead.as_millisecond());
        let written = Written { boot: self.boot.clone(), epochs: steps.0.iter().map(epoch).collect() };
        let fresh = self.path.with_extension("new");
        fs::write(&fresh, serde_json::to_vec(&written)?)?;
        fs::rename(fresh, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_in_an_earlier_run_of_the_machine_is_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = StepsFile::new(&folder.path().join("clock")).expect("a file");
        assert_eq!(file.read(), Steps::default());
        let from = SignedDuration::from_millis(1500);
        let ahead = Timestamp::from_second(100).expect("a time");
        let steps = Steps(vec![Epoch { from, ahead }]);
        file.write(&steps).expect("it is written");
        assert_eq!(file.read(), steps);
        let later = StepsFile { path: file.path.clone(), boot: "another".to_owned() };
        assert_eq!(later.read(), Steps::default());
        fs::write(&file.path, "{").expect("it is written");
        assert_eq!(file.read(), Steps::default());
    }
}
