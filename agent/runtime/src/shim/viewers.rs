//! Who watches a container's output beside its log: pipes that never hold the shim up.
//!
//! A viewer that does not keep up holds the container's output up, as with containerd, so that nothing is lost to it;
//! one that takes nothing for [`STALL_LIMIT`] is cut off, so that a stopped client cannot stop a container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;

const STALL_LIMIT: Duration = Duration::from_secs(10);
/// Viewers of one container.
const VIEWERS_MAX: usize = 16;

/// One output of one viewer, and what of it waits.
struct Pipe {
    fd: OwnedFd,
    pending: Vec<u8>,
    written: usize,
    stalled_since: Instant,
}

struct Viewer {
    /// The connection that it lives with.
    connection: u64,
    /// stdout and stderr; none where it is not wanted or broke.
    pipes: [Option<Pipe>; 2],
}

#[derive(Default)]
pub(super) struct Viewers {
    viewers: Vec<Viewer>,
    /// No output follows: each viewer goes once it has all.
    ended: bool,
}

impl Pipe {
    /// False where nobody reads any more.
    fn flush(&mut self) -> bool {
        while self.written < self.pending.len() {
            match nix::unistd::write(&self.fd, &self.pending[self.written..]) {
                Ok(count) => {
                    self.written += count;
                    self.stalled_since = Instant::now();
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return true,
                Err(_) => return false,
            }
        }
        // Its memory is given back: most of the time nothing waits.
        self.pending = Vec::new();
        self.written = 0;
        true
    }
}

impl Viewers {
    /// Takes in a viewer, whose pipes must not block; false where there are too many.
    pub fn add(&mut self, connection: u64, fds: impl Iterator<Item = OwnedFd>) -> bool {
        if self.viewers.len() >= VIEWERS_MAX {
            return false;
        }
        let mut pipes = fds.map(|fd| Pipe { fd, pending: Vec::new(), written: 0, stalled_since: Instant::now() });
        self.viewers.push(Viewer { connection, pipes: [pipes.next(), pipes.next()] });
        true
    }

    pub fn remove(&mut self, connection: u64) {
        self.viewers.retain(|viewer| viewer.connection != connection);
    }

    /// Shows an output to all viewers; what a pipe does not take waits.
    pub fn show(&mut self, index: usize, output: &[u8]) {
        for viewer in &mut self.viewers {
            let Some(pipe) = &mut viewer.pipes[index] else { continue };
            if pipe.pending.is_empty() {
                pipe.stalled_since = Instant::now();
            }
            pipe.pending.extend_from_slice(output);
            if !pipe.flush() {
                viewer.pipes[index] = None;
            }
        }
    }

    /// Nothing follows.
    pub fn end(&mut self) {
        self.ended = true;
        self.settle();
    }

    /// Pipes that wait for their readers.
    pub fn waiting(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let pipes = self.viewers.iter().flat_map(|viewer| viewer.pipes.iter().flatten());
        pipes.filter(|pipe| !pipe.pending.is_empty()).map(|pipe| pipe.fd.as_fd())
    }

    /// How long the one that waits longest may still do so.
    pub fn patience(&self) -> Option<Duration> {
        let pipes = self.viewers.iter().flat_map(|viewer| viewer.pipes.iter().flatten());
        let waiting = pipes.filter(|pipe| !pipe.pending.is_empty());
        waiting.map(|pipe| STALL_LIMIT.saturating_sub(pipe.stalled_since.elapsed())).min()
    }

    /// Gives pipes what they take now, and lets go of those that took nothing for too long or have all.
    pub fn settle(&mut self) {
        for pipe in self.viewers.iter_mut().flat_map(|viewer| &mut viewer.pipes) {
            let stays = pipe.as_mut().is_none_or(|pipe| {
                let reads = pipe.flush();
                let waits = !pipe.pending.is_empty();
                reads && !(waits && pipe.stalled_since.elapsed() >= STALL_LIMIT) && (waits || !self.ended)
            });
            if !stays {
                *pipe = None;
            }
        }
        self.viewers.retain(|viewer| viewer.pipes.iter().any(Option::is_some));
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use super::super::child;
    use super::*;

    fn pipe() -> (File, OwnedFd) {
        let (read, write) = nix::unistd::pipe().unwrap();
        child::set_nonblocking(&write).unwrap();
        (read.into(), write)
    }

    #[test]
    fn a_viewer_that_is_behind_gets_everything_and_then_its_end() {
        let (mut reader, writer) = pipe();
        let mut viewers = Viewers::default();
        assert!(viewers.add(1, [writer].into_iter()));
        let output: Vec<u8> = (0..200_000u32).map(|number| number as u8).collect();
        for part in output.chunks(50_000) {
            viewers.show(0, part);
        }
        viewers.show(1, b"nobody looks at this one");
        assert_eq!(viewers.waiting().count(), 1);
        assert!(viewers.patience().unwrap() > Duration::from_secs(5));
        let reading = std::thread::spawn(move || {
            let mut got = Vec::new();
            reader.read_to_end(&mut got).unwrap();
            got
        });
        viewers.end();
        while viewers.waiting().count() > 0 {
            viewers.settle();
        }
        assert!(viewers.viewers.is_empty() && viewers.patience().is_none());
        assert!(reading.join().unwrap() == output);
    }

    #[test]
    fn a_viewer_that_left_is_forgotten_and_more_than_the_limit_are_refused() {
        let mut viewers = Viewers::default();
        let kept: Vec<File> = (0..VIEWERS_MAX as u64)
            .map(|number| {
                let (reader, writer) = pipe();
                assert!(viewers.add(number, [writer].into_iter()));
                reader
            })
            .collect();
        assert!(!viewers.add(99, [pipe().1].into_iter()));
        viewers.remove(3);
        assert_eq!(viewers.viewers.len(), VIEWERS_MAX - 1);
        drop(kept);
        viewers.show(0, b"x");
        viewers.settle();
        assert!(viewers.viewers.is_empty());
    }
}
