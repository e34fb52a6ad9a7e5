//! A thread that sees the machine's mounts without the unified cgroup hierarchy, and so does what it starts.
//!
//! Debian's crun refuses a machine that has both: v1 hierarchies, and the unified one mounted beside them.

use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

const UNIFIED: &str = "/sys/fs/cgroup/unified";

type Job = Box<dyn FnOnce() + Send>;

/// Its thread ends when it is dropped, after what it was given.
pub struct Apart {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Apart {
    /// It sees what is mounted by now.
    pub fn start() -> Result<Self> {
        let (jobs, waiting) = mpsc::channel::<Job>();
        let (told, ready) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            // Nobody listens any more where the bench has given up.
            let _ = told.send(leave());
            waiting.iter().for_each(|job| job());
        });
        let apart = Self { jobs: Some(jobs), thread: Some(thread) };
        ready.recv().context("the thread apart ended")?.context("cannot hide the unified hierarchy")?;
        Ok(apart)
    }

    /// Does it there, and waits for it.
    pub async fn run<T: Send + 'static>(&self, act: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let (tell, told) = tokio::sync::oneshot::channel();
        self.leave_to(move || drop(tell.send(act())));
        told.await.map_err(|_| anyhow!("the thread apart ended"))?
    }

    /// Does it there, some time before the thread's end.
    pub fn leave_to(&self, act: impl FnOnce() + Send + 'static) {
        if let Some(jobs) = &self.jobs {
            // Fails when the thread has panicked: then nothing comes back either.
            let _ = jobs.send(Box::new(act));
        }
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.jobs = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            eprintln!("the thread apart panicked");
        }
    }
}

/// Gives the calling thread mounts of its own.
fn leave() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none = None::<&str>;
    // What the machine mounts and unmounts goes on to show here, and nothing goes back.
    mount(none, "/", none, MsFlags::MS_SLAVE | MsFlags::MS_REC, none)?;
    if Path::new(UNIFIED).join("cgroup.procs").exists() { umount2(UNIFIED, MntFlags::MNT_DETACH) } else { Ok(()) }
}
