//! How far it is, how fast, and how long it will take: one line that is renewed, or a few where nobody looks.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use super::disks::size;

/// On a terminal.
const RENEW_AFTER: Duration = Duration::from_millis(250);
/// Elsewhere, in a log say.
const LINE_AFTER: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Progress {
    what: &'static str,
    /// 0 where it is not known.
    total_bytes: u64,
    started: Instant,
    shown: Instant,
    terminal: bool,
    bytes: u64,
}

impl Progress {
    pub fn new(what: &'static str, total_bytes: u64) -> Self {
        let now = Instant::now();
        Self { what, total_bytes, started: now, shown: now, terminal: std::io::stderr().is_terminal(), bytes: 0 }
    }

    pub fn at(&mut self, bytes: u64) {
        self.bytes = bytes;
        if self.shown.elapsed() < if self.terminal { RENEW_AFTER } else { LINE_AFTER } {
            return;
        }
        self.shown = Instant::now();
        self.show(if self.terminal { "" } else { "\n" });
    }

    /// The last word.
    pub fn end(&self) {
        self.show("\n");
    }

    fn show(&self, end: &str) {
        let start = if self.terminal { "\r\x1b[K" } else { "" };
        let line = render(self.what, self.bytes, self.total_bytes, self.started.elapsed());
        // Whoever closed stderr does not want to know.
        drop(write!(std::io::stderr(), "{start}{line}{end}"));
        drop(std::io::stderr().flush());
    }
}

fn render(what: &str, bytes: u64, total: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let rate = bytes as f64 / seconds;
    let rate_mib = rate / f64::from(1 << 20);
    if total == 0 {
        return format!("{what}: {}, {rate_mib:.1} MiB/s", size(bytes));
    }
    let percent = bytes.min(total) * 100 / total;
    let done = format!("{what}: {percent:>3} % of {}, {rate_mib:.1} MiB/s", size(total));
    if bytes >= total || bytes == 0 {
        return format!("{done}, {seconds:.0} s");
    }
    let left = ((total - bytes) as f64 / rate).ceil() as u64;
    format!("{done}, {}:{:02} left", left / 60, left % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_from_the_rate() {
        let line = |bytes, total, seconds| render("writing", bytes, total, Duration::from_secs(seconds));
        assert_eq!(line(100 << 20, 1 << 30, 10), "writing:   9 % of 1.0 GiB, 10.0 MiB/s, 1:33 left");
        assert_eq!(line(1 << 30, 1 << 30, 64), "writing: 100 % of 1.0 GiB, 16.0 MiB/s, 64 s");
        assert_eq!(line(64 << 20, 0, 2), "writing: 64 MiB, 32.0 MiB/s");
    }
}
