//! Notice that somebody set this machine's clock: from the kernel, without polling. A Pi starts in 1970, and a time server
//! sets its clock by decades while everything runs.

use std::io;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::unistd::read;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

/// The timer's own time, which is not to come: the year 2255, short of where the kernel's count ends.
const NEVER_SECONDS: i64 = 9_000_000_000;
/// The same where a time has 32 bits.
const NEVER_SECONDS_32: i64 = i32::MAX as i64;

/// Counts how often the clock was set. The task behind it ends with the last receiver.
pub fn follow() -> io::Result<watch::Receiver<u64>> {
    #[allow(deprecated, reason = "its successor is unsafe; an OwnedFd is the same open descriptor for all its life")]
    let timer = AsyncFd::new(timer()?)?;
    let (sender, receiver) = watch::channel(0);
    tokio::spawn(async move {
        loop {
            let ready = tokio::select! {
                ready = timer.readable() => ready,
                () = sender.closed() => return,
            };
            let Ok(mut ready) = ready else { return };
            match read(timer.get_ref(), &mut [0; 8]) {
                Err(Errno::ECANCELED) => {
                    tracing::info!("this machine's clock was set");
                    sender.send_modify(|count| *count += 1);
                }
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                // It is later than this timer can tell.
                _ => return,
            }
        }
    });
    Ok(receiver)
}

/// One that is cancelled whenever the clock is set.
fn timer() -> io::Result<OwnedFd> {
    let timer = TimerFd::new(ClockId::CLOCK_REALTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
    let seconds = if size_of::<usize>() > 4 { NEVER_SECONDS } else { NEVER_SECONDS_32 };
    let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
    timer.set(Expiration::OneShot(TimeSpec::seconds(seconds)), flags)?;
    Ok(timer.into())
}
