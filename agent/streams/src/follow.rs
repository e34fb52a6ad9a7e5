//! Waiting until a log has more: inotify tells, nobody asks again and again.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

/// Whether the container still runs; a log that is followed ends after it does.
pub type Alive = watch::Receiver<bool>;

/// tokio asks for a raw descriptor, which nix does not give by itself.
struct Descriptor(Inotify);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Events of one container's log folder.
pub struct Changes {
    inotify: AsyncFd<Descriptor>,
}

impl Changes {
    #[expect(deprecated, reason = "its successor is unsafe, and this descriptor is owned by what is registered")]
    /// Watches `folder`, which must be there, for writes and new files.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        inotify.add_watch(folder, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO)?;
        Ok(Self { inotify: AsyncFd::with_interest(Descriptor(inotify), Interest::READABLE)? })
    }

    /// Waits for the next change. Cancel-safe.
    pub async fn next(&mut self) -> io::Result<()> {
        loop {
            let mut guard = self.inotify.readable_mut().await?;
            match guard.try_io(|inotify| inotify.get_ref().0.read_events().map_err(io::Error::from)) {
                Ok(events) => return events.map(|_| ()),
                Err(_would_block) => {}
            }
        }
    }
}
