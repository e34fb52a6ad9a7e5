//! The kernel's word that something waits for memory, so that a lack of it is found before the next look.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

const PRESSURE: &str = "/proc/pressure/memory";
/// Told once so many of so many microseconds were waited. The shorter window is for who may have one: in a container the
/// kernel may allow multiples of 2 s only.
const TRIGGERS: [&str; 2] = ["some 70000 1000000\0", "some 140000 2000000\0"];

/// One for each system, whatever its cgroups are. Costs nothing while nothing waits.
pub struct Stalls(Option<AsyncFd<File>>);

impl Stalls {
    /// A kernel without them (`psi=1` turns them on in some) leaves the look at regular times.
    pub fn follow() -> Self {
        let mut followed = Err(io::ErrorKind::Unsupported.into());
        for trigger in TRIGGERS {
            followed = open(trigger);
            if followed.is_ok() {
                break;
            }
        }
        Self(followed.inspect_err(|error| tracing::info!(%error, "the kernel does not tell of a lack of memory")).ok())
    }

    /// Returns when something has waited for memory.
    pub async fn next(&self) {
        let Some(told) = &self.0 else { return std::future::pending().await };
        match told.ready(Interest::PRIORITY).await {
            Ok(mut ready) => ready.clear_ready(),
            Err(error) => {
                tracing::warn!(%error, "the kernel no longer tells of a lack of memory");
                std::future::pending().await
            }
        }
    }
}

fn open(trigger: &str) -> io::Result<AsyncFd<File>> {
    let mut file = OpenOptions::new().read(true).write(true).open(PRESSURE)?;
    file.write_all(trigger.as_bytes())?;
    #[allow(deprecated, reason = "its successor is unsafe; a File is the same open descriptor for all its life")]
    AsyncFd::with_interest(file, Interest::PRIORITY)
}
