//! The measured server, out of /proc.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

const KIB_PER_MIB: f64 = 1024.0;
/// Written to `clear_refs`: the peak begins anew.
const FORGET_PEAK: &str = "5";

pub struct Server {
    proc: PathBuf,
}

impl Server {
    /// The one of a data folder.
    pub fn find(data: &Path) -> Result<Self> {
        let pid = fs::read_to_string(data.join("server.pid")).context("the server names its process")?;
        Ok(Self { proc: Path::new("/proc").join(pid.trim()) })
    }

    fn kib(&self, file: &str, field: &str) -> Result<f64> {
        let text = fs::read_to_string(self.proc.join(file)).context("the server runs")?;
        let line = text.lines().find_map(|line| line.strip_prefix(field)).context("the kernel counts it")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    pub fn pss_mib(&self) -> Result<f64> {
        Ok(self.kib("smaps_rollup", "Pss:")? / KIB_PER_MIB)
    }

    /// The most resident memory since the start, or since it was forgotten.
    pub fn peak_mib(&self) -> Result<f64> {
        Ok(self.kib("status", "VmHWM:")? / KIB_PER_MIB)
    }

    pub fn forget_peak(&self) -> Result<()> {
        Ok(fs::write(self.proc.join("clear_refs"), FORGET_PEAK)?)
    }

    /// Time on a core so far, to the nanosecond; of threads that are still there.
    pub fn cpu(&self) -> Result<Duration> {
        let mut nanos = 0;
        for task in fs::read_dir(self.proc.join("task"))? {
            let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            nanos += text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanos))
    }
}
