//! A container's log in CRI format: `TIME STREAM TAG TEXT`, rotated by size.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// A longer line is written in parts, tagged P up to the last, F.
const LINE_BYTES_MAX: usize = 16 << 10;
const FILE_BYTES_MAX: u64 = 10 << 20;
/// With the one being written.
const FILES_MAX: usize = 5;

pub(super) struct Log {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
    /// An unfinished line of each stream.
    pending: [Vec<u8>; 2],
}

const STREAMS: [&str; 2] = ["stdout", "stderr"];

impl Log {
    /// An empty path is for no log.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut log = Self { path: path.to_owned(), file: None, bytes: 0, pending: Default::default() };
        if !path.as_os_str().is_empty() {
            if let Some(dir) = path.parent() {
                fs::create_dir_all(dir)?;
            }
            log.reopen()?;
        }
        Ok(log)
    }

    fn reopen(&mut self) -> io::Result<()> {
        let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        self.bytes = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }

    /// Takes output in; whole lines go to the file in one write.
    pub fn write(&mut self, stream: usize, output: &[u8]) {
        let mut batch = Vec::new();
        let time = timestamp(SystemTime::now());
        let pending = &mut self.pending[stream];
        for byte in output {
            if *byte == b'\n' {
                format_line(&mut batch, &time, STREAMS[stream], "F", pending);
                pending.clear();
                continue;
            }
            if pending.len() == LINE_BYTES_MAX {
                format_line(&mut batch, &time, STREAMS[stream], "P", pending);
                pending.clear();
            }
            pending.push(*byte);
        }
        self.append(&batch);
    }

    /// At the end of the streams: what has no newline is a line too.
    pub fn finish(&mut self) {
        for (stream, name) in STREAMS.iter().enumerate() {
            let rest = std::mem::take(&mut self.pending[stream]);
            if !rest.is_empty() {
                let mut batch = Vec::new();
                format_line(&mut batch, &timestamp(SystemTime::now()), name, "F", &rest);
                self.append(&batch);
            }
        }
    }

    /// A log that cannot be written (a full disk) must not end the container: its lines are lost.
    fn append(&mut self, batch: &[u8]) {
        if batch.is_empty() {
            return;
        }
        let Some(file) = &mut self.file else { return };
        if file.write_all(batch).is_ok() {
            self.bytes += batch.len() as u64;
        }
        if self.bytes >= FILE_BYTES_MAX {
            let _ = self.rotate();
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        let stamp = timestamp(SystemTime::now()).replace(['-', ':'], "").replace('T', "-");
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // The fraction keeps two rotations within a second apart.
        fs::rename(&self.path, self.path.with_file_name(format!("{name}.{}", stamp.trim_end_matches('Z'))))?;
        self.reopen()?;
        let dir = self.path.parent().unwrap_or(Path::new("/"));
        let mut old: Vec<PathBuf> = fs::read_dir(dir)?
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{name}.")))
            .map(|entry| entry.path())
            .collect();
        old.sort();
        for path in old.iter().rev().skip(FILES_MAX - 1) {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

fn format_line(batch: &mut Vec<u8>, time: &str, stream: &str, tag: &str, text: &[u8]) {
    batch.reserve(text.len() + 48);
    for part in [time.as_bytes(), b" ", stream.as_bytes(), b" ", tag.as_bytes(), b" ", text, b"\n"] {
        batch.extend_from_slice(part);
    }
}

/// RFC 3339 in UTC with nanoseconds.
pub(super) fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let (year, month, day) = civil_date(seconds / 86400);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:09}Z", since.subsec_nanos())
}

/// Days since 1970 as a date, by counting in years that begin with March, so that leap days come last.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_written_as_utc_with_nanoseconds() {
        let at = |seconds, nanos| timestamp(UNIX_EPOCH + Duration::new(seconds, nanos));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(at(951_782_400, 7), "2000-02-29T00:00:00.000000007Z");
        assert_eq!(at(1_798_761_599, 999_999_999), "2026-12-31T23:59:59.999999999Z");
    }

    #[test]
    fn long_lines_are_split_and_the_last_part_is_tagged_full() {
        let mut log = Log::open(Path::new("")).unwrap();
        log.pending[0] = vec![b'x'; LINE_BYTES_MAX];
        let mut batch = Vec::new();
        format_line(&mut batch, "T", "stdout", "P", b"ab");
        assert_eq!(batch, b"T stdout P ab\n");
        log.write(0, b"yz");
        assert_eq!(log.pending[0], b"yz");
    }
}
