//! The clock of a machine without a battery, which starts in 1970: it goes on from the latest time that is known to be
//! past, and takes the cluster's time until a time server is heard.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use control_wire::durable::{self, MODE_PRIVATE};
use control_wire::trust;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};

/// Holds seconds since 1970, in the card's folder of the data partition.
const FILE: &str = "time";
/// systemd-timesyncd leaves it once it has heard a time server, and is then the one who keeps the clock.
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";
/// The server's word was on its way for a while, and nothing needs the clock to be better.
const OFF_MAX: Duration = Duration::from_secs(5);
/// How much time a power cut may cost a machine that finds neither server nor time server; each save wears the card.
const SAVE_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Whoever may set this machine's clock.
#[derive(Debug, Clone)]
pub struct MachineClock {
    folder: PathBuf,
}

impl MachineClock {
    /// One that saves the time in `folder`.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Sets the clock forward to the saved time, or to that of the build.
    pub fn restore(&self) {
        let saved = durable::read(&self.path()).ok().flatten();
        if let Some(saved) = saved.and_then(|text| parse(&text)) {
            trust::is_past(saved);
        }
        let floor = Duration::from_secs(trust::now_seconds());
        if since_1970() < floor {
            set(floor, "the last known time");
        }
    }

    /// Takes the server's time, milliseconds since 1970.
    pub fn follow(&self, server_time_ms: i64) {
        let synchronized = Path::new(SYNCHRONIZED).exists();
        if let Some(time) = wanted(since_1970(), server_time_ms, synchronized) {
            set(time, "the server's time");
            self.save();
        }
    }

    /// Remembers that it is now; a power cut leaves the time before.
    pub fn save(&self) {
        let now = trust::now_seconds().to_string();
        let saved = durable::private_folder(&self.folder)
            .and_then(|()| durable::replace(&self.path(), now.as_bytes(), MODE_PRIVATE));
        if let Err(error) = saved {
            tracing::warn!(%error, "the time is not saved");
        }
    }

    /// Saves once a day; never returns.
    pub async fn keep(self) {
        loop {
            tokio::time::sleep(SAVE_EVERY).await;
            self.save();
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }
}

fn parse(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

/// What the clock is to be set to, if at all.
fn wanted(own: Duration, server_time_ms: i64, synchronized: bool) -> Option<Duration> {
    let server = Duration::from_millis(u64::try_from(server_time_ms).ok()?);
    (!synchronized && own.abs_diff(server) > OFF_MAX).then_some(server)
}

fn set(time: Duration, whose: &str) {
    match clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::from_duration(time)) {
        Ok(()) => tracing::info!(seconds = time.as_secs(), "the clock is set to {whose}"),
        Err(error) => tracing::warn!(%error, "the clock cannot be set to {whose}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_time_is_taken_when_it_differs_and_no_time_server_was_heard() {
        let (start, now) = (Duration::from_secs(100), 1_800_000_000_000);
        assert_eq!(wanted(start, now, false), Some(Duration::from_secs(1_800_000_000)));
        assert_eq!(wanted(Duration::from_secs(1_900_000_000), now, false), Some(Duration::from_secs(1_800_000_000)));
        assert_eq!(wanted(start, now, true), None);
        assert_eq!(wanted(Duration::from_secs(1_800_000_004), now, false), None);
        assert_eq!(wanted(start, -1, false), None);
    }

    #[test]
    fn a_saved_time_is_read_and_a_damaged_one_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = MachineClock::new(folder.path().join("card"));
        clock.save();
        assert!(parse(&std::fs::read(clock.path()).expect("was saved")) >= Some(trust::now_seconds() - 5));
        assert_eq!(parse(b"17999\xff"), None);
    }
}
