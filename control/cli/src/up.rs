//! `bramble up`: starts the server and the agent beside it, and starts either again when it crashes.
//!
//! ```text
//! server started -> says READY on the notify socket -> agent started -> both supervised until SIGTERM or SIGINT
//! ```
//!
//! Single-threaded and asleep unless a child ends, a signal comes or a child says READY. Both children end with this
//! process; pods do not: the agent leaves them running, and the next start takes them over.

use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use crate::arguments::Up;
use crate::data_dir::DataDir;
use crate::pidfile::Pidfile;

/// A child that died is started again after this, doubled each time up to the maximum.
const RESTART_AFTER: Duration = Duration::from_secs(1);
const RESTART_AFTER_MAX: Duration = Duration::from_secs(30);
/// A child that ran this long starts over with the shortest wait.
const STEADY_AFTER: Duration = Duration::from_secs(60);
/// What each child gets to end by itself.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// One supervised program.
struct Part {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    child: Option<Child>,
    started: Instant,
    wait: Duration,
    start_at: Option<Instant>,
}

impl Part {
    fn new(name: &'static str, program: PathBuf, arguments: Vec<String>) -> Self {
        Self {
            name,
            program,
            arguments,
            environment: Vec::new(),
            child: None,
            started: Instant::now(),
            wait: RESTART_AFTER,
            start_at: None,
        }
    }

    fn start(&mut self) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        let child = command.spawn().with_context(|| format!("cannot start {}", self.program.display()))?;
        tracing::info!(part = self.name, pid = child.id(), "started");
        (self.child, self.started, self.start_at) = (Some(child), Instant::now(), None);
        Ok(())
    }

    /// Reaps the child if it ended, and says when to start it again.
    fn reap(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        if self.started.elapsed() > STEADY_AFTER {
            self.wait = RESTART_AFTER;
        }
        if status.success() {
            // Somebody asked it to end: `bramble-agent stop`, or a SIGTERM.
            tracing::info!(part = self.name, "ended as asked; the next `bramble up` starts it again");
            return Some(status);
        }
        self.start_at = Some(Instant::now() + self.wait);
        tracing::error!(part = self.name, %status, again_in_s = self.wait.as_secs(), "ended");
        self.wait = (self.wait * 2).min(RESTART_AFTER_MAX);
        Some(status)
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child
            && let Ok(pid) = i32::try_from(child.id())
        {
            // The child may be gone already; it is not reaped yet, so the pid is still its own.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

/// Runs until SIGTERM or SIGINT.
pub fn run(data: &DataDir, options: &Up, log: &str) -> Result<()> {
    let _pidfile = Pidfile::hold(&data.pidfile("up"))?;
    let (notify, notify_path) = notify_socket(data)?;
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD] {
        signals.add(signal);
    }
    signals.thread_block().context("cannot block signals")?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;

    let mut server = server_part(data, options, log)?;
    server.environment.push(("NOTIFY_SOCKET", notify_path.display().to_string()));
    let mut parts = vec![server, agent_part(data, options, log)?];
    parts[0].start()?;
    let mut ready = false;
    let result = loop {
        wait(&signals, &notify, parts.iter().filter_map(|part| part.start_at).min())?;
        if asked_to_stop(&signals)? {
            break Ok(());
        }
        let mut word = [0; 64];
        while notify.recv(&mut word).is_ok() {
            if !ready {
                ready = true;
                tracing::info!(kubeconfig = %data.kubeconfig().display(), "the API is ready");
                admit(data, &mut parts[1])?;
                parts[1].start()?;
            }
        }
        if let Some(status) = parts[0].reap()
            && !ready
        {
            break Err(anyhow::anyhow!("the server did not start ({status}); its log above says why"));
        }
        parts[1].reap();
        for part in &mut parts {
            if part.start_at.is_some_and(|at| at <= Instant::now()) {
                part.start()?;
            }
        }
    };
    stop(&mut parts, &signals);
    let _ = std::fs::remove_file(notify_path);
    result
}

fn server_part(data: &DataDir, options: &Up, log: &str) -> Result<Part> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut arguments = common(data, log);
    arguments.extend(["server".to_owned(), "--exit-with-parent".to_owned()]);
    if let Some(config) = &options.config {
        arguments.extend(["--config".to_owned(), config.display().to_string()]);
    }
    Ok(Part::new("server", program, arguments))
}

fn agent_part(data: &DataDir, options: &Up, log: &str) -> Result<Part> {
    let program = agent_program()?;
    let mut arguments = common(data, log);
    arguments.push("--exit-with-parent".to_owned());
    if let Some(config) = &options.agent_config {
        arguments.extend(["--config".to_owned(), config.display().to_string()]);
    }
    if let Some(name) = &options.node_name {
        arguments.extend(["--node-name".to_owned(), name.clone()]);
    }
    let mut agent = Part::new("agent", program, arguments);
    // glibc gives each thread a heap and keeps what a burst of pods has grown: 18 MiB after fifty, 12 with one heap.
    agent.environment.push(("MALLOC_ARENA_MAX", "1".to_owned()));
    Ok(agent)
}

fn common(data: &DataDir, log: &str) -> Vec<String> {
    vec!["--data-dir".to_owned(), data.path().display().to_string(), "--log".to_owned(), log.to_owned()]
}

/// `bramble-agent` beside this program, else on PATH.
fn agent_program() -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let beside = own.with_file_name("bramble-agent");
    if beside.exists() {
        return Ok(beside);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("bramble-agent")).find(|file| file.exists());
    match found {
        Some(file) => Ok(file),
        None => bail!("bramble-agent is neither beside {} nor on PATH: install it there", own.display()),
    }
}

/// Gives an agent without an identity a token that is good for one node and a few minutes.
fn admit(data: &DataDir, agent: &mut Part) -> Result<()> {
    if crate::token::has_identity(data) {
        return Ok(());
    }
    let token = crate::token::for_this_machine(data)?;
    // Not an argument: every user of the machine can read those.
    agent.environment.push(("BRAMBLE_JOIN", token));
    Ok(())
}

fn notify_socket(data: &DataDir) -> Result<(UnixDatagram, PathBuf)> {
    let folder = data.path().join("run");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join("up.sock");
    remove_old(&path)?;
    let socket = UnixDatagram::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))?;
    socket.set_nonblocking(true)?;
    Ok((socket, path))
}

fn remove_old(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn wait(signals: &SignalFd, notify: &UnixDatagram, until: Option<Instant>) -> Result<()> {
    let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(notify.as_fd(), PollFlags::POLLIN)];
    let timeout = match until {
        None => PollTimeout::NONE,
        // One more millisecond, so that rounding never makes this wake early and spin.
        Some(at) => {
            let left = at.saturating_duration_since(Instant::now()).as_millis() + 1;
            PollTimeout::try_from(u32::try_from(left).unwrap_or(u32::MAX)).unwrap_or(PollTimeout::MAX)
        }
    };
    match poll(&mut fds, timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot wait on descriptor {}", signals.as_raw_fd())),
    }
}

fn asked_to_stop(signals: &SignalFd) -> Result<bool> {
    let mut stop = false;
    while let Some(signal) = signals.read_signal()? {
        stop |= signal.ssi_signo != Signal::SIGCHLD as u32;
    }
    Ok(stop)
}

/// Ends both, the agent first, so that its last reports still find a server.
fn stop(parts: &mut [Part], signals: &SignalFd) {
    for part in parts.iter_mut().rev() {
        let deadline = Instant::now() + STOP_WITHIN;
        part.signal(Signal::SIGTERM);
        while part.child.is_some() && Instant::now() < deadline {
            let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            let left = deadline.saturating_duration_since(Instant::now()).as_millis();
            let _ = poll(
                &mut fds,
                PollTimeout::try_from(u32::try_from(left).unwrap_or(u32::MAX)).unwrap_or(PollTimeout::MAX),
            );
            while matches!(signals.read_signal(), Ok(Some(_))) {}
            if part.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None))) {
                part.child = None;
            }
        }
        if let Some(mut child) = part.child.take() {
            tracing::warn!(part = part.name, "did not end in time and is killed");
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
