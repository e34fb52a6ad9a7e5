//! The others' side: crun and runc by their commands, with the configuration that our runtime wrote.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::apart::Apart;
use crate::node::{Node, SLEEP, SLEEPER, TRUE};

/// What our worker drops to by itself, and so does not write down: the default set of containers.
const CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// One of the peers.
#[derive(Clone)]
struct Peer {
    program: &'static str,
    /// Bundles, state and what it says on errors lie in it.
    folder: PathBuf,
}

impl Peer {
    /// Writes its bundles: `true` ends at once, `sleeper` does not.
    fn prepare(program: &'static str, node: &Node) -> Result<Self> {
        let peer = Self { program, folder: node.folder().join(program) };
        fs::create_dir_all(&peer.folder)?;
        peer.command(&["--version"])
            .with_context(|| format!("{program} does not run: scripts/install-dependencies bench"))?;
        let mut config = node.config()?;
        config["process"]["capabilities"] =
            json!({"bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES});
        peer.bundle(config.clone(), "true", &TRUE, &node.cgroup)?;
        peer.bundle(config, SLEEPER, &SLEEP, &node.cgroup)?;
        Ok(peer)
    }

    fn bundle(&self, mut config: Value, id: &str, args: &[&str], pod_cgroup: &str) -> Result<()> {
        config["process"]["args"] = json!(args);
        config["linux"]["cgroupsPath"] = json!(format!("/{pod_cgroup}/{}-{id}", self.program));
        let folder = self.folder.join(id);
        fs::create_dir_all(&folder)?;
        Ok(fs::write(folder.join("config.json"), config.to_string())?)
    }

    fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    fn command(&self, words: &[&str]) -> Result<()> {
        // Not a pipe, which a container would keep open.
        let errors = self.folder.join("errors");
        let mut command = Command::new(self.program);
        command.arg("--root").arg(self.state()).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&errors)?);
        let status = command.status()?;
        let said = || fs::read_to_string(&errors).unwrap_or_default();
        ensure!(status.success(), "{} {}: {status}: {}", self.program, words.join(" "), said());
        Ok(())
    }

    /// Gives the pid of its first process.
    fn launch(&self, id: &str) -> Result<Pid> {
        let (bundle, pid) = (self.folder.join(id), self.folder.join("pid"));
        self.command(&["create", "--bundle", text(&bundle)?, "--pid-file", text(&pid)?, id])?;
        self.command(&["start", id])?;
        Ok(Pid::from_raw(fs::read_to_string(pid)?.trim().parse()?))
    }

    /// From its creation to its removal.
    fn run_to_end(&self) -> Result<Duration> {
        let begun = Instant::now();
        let ended = waitpid(self.launch("true")?, None)?;
        self.command(&["delete", "true"])?;
        ensure!(matches!(ended, WaitStatus::Exited(_, 0)), "{}'s container: {ended:?}", self.program);
        Ok(begun.elapsed())
    }

    /// Time and processor time of one process in the container that sleeps.
    fn exec(&self) -> Result<(Duration, Duration)> {
        let (begun, before) = (Instant::now(), processor_time(UsageWho::RUSAGE_CHILDREN)?);
        self.command(&["exec", SLEEPER, TRUE[0]])?;
        Ok((begun.elapsed(), processor_time(UsageWho::RUSAGE_CHILDREN)? - before))
    }

    /// All of its containers.
    fn remove(&self) {
        for entry in fs::read_dir(self.state()).into_iter().flatten().flatten() {
            let id = entry.file_name().to_string_lossy().into_owned();
            if let Err(error) = self.command(&["delete", "--force", &id]) {
                eprintln!("a container stays behind: {error:#}");
            }
        }
    }
}

/// crun and runc, each with a container that sleeps in our node's pod. Their containers are gone after the drop.
pub struct Peers {
    apart: Apart,
    crun: Peer,
    runc: Peer,
}

impl Peers {
    pub fn start(node: &Node) -> Result<Self> {
        let (crun, runc) = (Peer::prepare("crun", node)?, Peer::prepare("runc", node)?);
        Ok(Self { apart: Apart::start()?, crun, runc })
    }

    /// So that execs have where to run.
    pub async fn launch_sleepers(&self) -> Result<()> {
        for peer in [self.crun.clone(), self.runc.clone()] {
            self.apart.run(move || peer.launch(SLEEPER)).await?;
        }
        Ok(())
    }

    /// A container's whole life: crun's time, runc's time.
    pub async fn run_to_end(&self) -> Result<[Duration; 2]> {
        let (crun, runc) = (self.crun.clone(), self.runc.clone());
        self.apart.run(move || Ok([crun.run_to_end()?, runc.run_to_end()?])).await
    }

    /// An exec's time and processor time: crun's, runc's.
    pub async fn exec(&self) -> Result<[(Duration, Duration); 2]> {
        let (crun, runc) = (self.crun.clone(), self.runc.clone());
        self.apart.run(move || Ok([crun.exec()?, runc.exec()?])).await
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        for peer in [self.crun.clone(), self.runc.clone()] {
            self.apart.leave_to(move || peer.remove());
        }
    }
}

/// Of this process, or of all its children that ended.
pub fn processor_time(who: UsageWho) -> Result<Duration> {
    let usage: Usage = getrusage(who)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(micros.try_into()?))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a temporary path is text")
}
