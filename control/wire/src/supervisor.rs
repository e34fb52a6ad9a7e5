//! What systemd, or whoever supervises a program in its manner, is told: one datagram to the socket that
//! NOTIFY_SOCKET names. Without one everything here does nothing.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

/// Says that this program is ready.
pub fn ready() -> io::Result<()> {
    say("READY=1")
}

/// Says in one line what this program does, for `systemctl status`. Who does not hear it misses nothing.
pub fn status(line: &str) {
    let _ = say(&format!("STATUS={}", line.replace('\n', " ")));
}

/// Says every half of the watchdog's time that this program's runtime still runs tasks; never returns.
pub async fn keep_watchdog() {
    let Some(every) = watchdog(|name| std::env::var(name).ok(), std::process::id()) else {
        return std::future::pending().await;
    };
    loop {
        if let Err(error) = say("WATCHDOG=1") {
            tracing::warn!(%error, "the watchdog cannot be told");
        }
        tokio::time::sleep(every).await;
    }
}

/// Half of what the supervisor waits for, where it waits for this process.
fn watchdog(variable: impl Fn(&str) -> Option<String>, own_pid: u32) -> Option<Duration> {
    let microseconds: u64 = variable("WATCHDOG_USEC")?.parse().ok()?;
    if variable("WATCHDOG_PID").is_some_and(|pid| pid.parse() != Ok(own_pid)) || microseconds == 0 {
        return None;
    }
    Some(Duration::from_micros(microseconds / 2))
}

fn say(word: &str) -> io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let path = Path::new(&path);
    // systemd may name an abstract socket.
    if let Some(name) = path.to_str().and_then(|path| path.strip_prefix('@')) {
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        return UnixDatagram::unbound()?.send_to_addr(word.as_bytes(), &address).map(|_| ());
    }
    UnixDatagram::unbound()?.send_to(word.as_bytes(), path).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_told_twice_in_its_time_by_the_process_that_it_watches() {
        let told = |usec: &'static str, pid: Option<&'static str>| {
            let variable = move |name: &str| match name {
                "WATCHDOG_USEC" => Some(usec.to_owned()),
                _ => pid.map(str::to_owned),
            };
            watchdog(variable, 7)
        };
        assert_eq!(told("60000000", Some("7")), Some(Duration::from_secs(30)));
        assert_eq!(told("60000000", None), Some(Duration::from_secs(30)));
        assert_eq!(told("60000000", Some("8")), None);
        assert_eq!(told("0", None), None);
        assert_eq!(told("soon", None), None);
    }
}
