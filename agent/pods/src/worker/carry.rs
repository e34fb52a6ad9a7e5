//! Effects on mounts, sandbox, network and signals; each answers with an event.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Context, Message};
use crate::log_link;
use crate::machine::{Effect, Event, Signal, State, container};
use crate::ports::{Exit, PortError};
use crate::spec;

/// What FallbackToLogsOnError takes of a log, as the kubelet has it.
const LOG_TAIL_LINES: usize = 80;
const LOG_TAIL_BYTES: u64 = 2048;
/// A teardown that fails is tried again; then the pod is let go, so that it does not hang in Terminating.
const TEAR_DOWN_TRIES: u32 = 3;
const TEAR_DOWN_PAUSE: Duration = Duration::from_secs(1);
const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

impl Context {
    pub(super) async fn tell(&self, event: Event) {
        // The worker being gone already is fine: there is no one left to tell.
        let _ = self.news.send(Message::Event(event)).await;
    }

    /// `name` is the container's, for effects on one.
    pub(super) fn carry(&self, effect: Effect, name: String) {
        let context = self.clone();
        tokio::spawn(async move {
            match effect {
                Effect::Mount => context.mount().await,
                Effect::CreateSandbox => context.create_sandbox().await,
                Effect::EnsureImage { slot } => context.ensure_image(slot, &name).await,
                Effect::Start { slot, attempt } => context.start(slot, attempt, &name).await,
                Effect::Signal { container_id, signal, .. } => context.signal(&container_id, signal, &name).await,
                Effect::RemoveContainer { container_id } => context.remove_container(&container_id).await,
                // The worker's own.
                Effect::TearDown
                | Effect::Probe { .. }
                | Effect::Hook { .. }
                | Effect::Forget
                | Effect::WakeAt(_)
                | Effect::Note(_) => {}
            }
        });
    }

    fn turn(&self) -> u64 {
        self.turns.asked.fetch_add(1, Ordering::Relaxed) + 1
    }

    async fn mount_volumes(&self, turn: u64) -> Result<(), PortError> {
        let mut done = self.turns.done.lock().await;
        if turn < *done {
            return Ok(());
        }
        let (ports, pod, facts) = (self.ports.clone(), self.pod.clone(), self.facts.clone());
        let mounted = tokio::task::spawn_blocking(move || ports.volumes.mount(&pod, &facts)).await;
        mounted.unwrap_or_else(|_| Err(PortError::new("mounting volumes panicked")))?;
        *done = turn;
        Ok(())
    }

    async fn mount(&self) {
        match self.mount_volumes(self.turn()).await {
            Ok(()) => self.tell(Event::Mounted).await,
            Err(error) => self.tell(Event::MountFailed(error.message)).await,
        }
    }

    pub(super) fn refresh_volumes(&self) {
        let (context, turn) = (self.clone(), self.turn());
        tokio::spawn(async move {
            if let Err(error) = context.mount_volumes(turn).await {
                tracing::warn!(uid = context.uid, %error, "volumes are not brought up to date");
            }
        });
    }

    async fn create_sandbox(&self) {
        match self.try_sandbox().await {
            Ok(ips) => self.tell(Event::SandboxReady { ips }).await,
            Err(error) => self.tell(Event::SandboxFailed(error.message)).await,
        }
    }

    async fn try_sandbox(&self) -> Result<Vec<String>, PortError> {
        let log_dir = spec::log_dir(&self.settings.log_root, &self.pod);
        let sandbox = spec::sandbox(&self.pod, log_dir, &self.settings.cluster_dns.domain);
        let sandbox = sandbox.map_err(|error| PortError::new(error.to_string()))?;
        let netns = self.ports.runtime.create_sandbox(sandbox).await?;
        match netns {
            Some(netns) => self.ports.network.attach(&self.pod, netns, spec::host_ports(&self.pod)).await,
            None => Ok(self.facts.host_ips.clone()),
        }
    }

    async fn signal(&self, container_id: &str, signal: Signal, name: &str) {
        let number = match signal {
            Signal::Kill => SIGKILL,
            Signal::Stop => self.stop_signal(name),
        };
        if let Err(error) = self.ports.runtime.signal(&self.uid, container_id, number).await {
            tracing::warn!(uid = self.uid, container_id, number, %error, "a container cannot be signalled");
        }
    }

    /// `lifecycle.stopSignal`, else the image's, else SIGTERM.
    fn stop_signal(&self, name: &str) -> i32 {
        let Some(container) = container(&self.pod, name) else { return SIGTERM };
        let asked = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.clone());
        let image = || self.ports.images.get(container.image.as_deref()?).ok()??.stop_signal;
        asked.or_else(image).and_then(|name| signal_number(&name)).unwrap_or(SIGTERM)
    }

    pub(super) async fn remove_container(&self, container_id: &str) {
        if let Err(error) = log_link::remove(&self.settings.link_root, container_id) {
            tracing::warn!(uid = self.uid, container_id, %error, "the link to a log is not removed");
        }
        for result in [
            self.ports.runtime.remove_container(&self.uid, container_id).await,
            self.ports.images.unmount(container_id).await,
        ] {
            if let Err(error) = result {
                tracing::warn!(uid = self.uid, container_id, %error, "a container is not wholly removed");
            }
        }
    }

    /// Of an evicted pod logs go too: it had to go for the room that it took.
    pub(super) fn tear_down(&self, container_ids: Vec<String>, evicted: bool) {
        let context = self.clone();
        tokio::spawn(async move {
            for attempt in 1..=TEAR_DOWN_TRIES {
                let errors = context.try_tear_down(&container_ids).await;
                if errors.is_empty() {
                    break;
                }
                tracing::warn!(uid = context.uid, attempt, errors = errors.join("; "), "a pod is not wholly torn down");
                if attempt < TEAR_DOWN_TRIES {
                    tokio::time::sleep(TEAR_DOWN_PAUSE).await;
                }
            }
            if evicted {
                context.remove_logs();
            }
            context.tell(Event::TornDown).await;
        });
    }

    async fn try_tear_down(&self, container_ids: &[String]) -> Vec<String> {
        let mut results =
            vec![self.ports.network.detach(&self.uid).await, self.ports.runtime.remove_sandbox(&self.uid).await];
        for id in container_ids {
            results.push(self.ports.images.unmount(id).await);
        }
        let unlinked = log_link::remove_of_pod(&self.settings.link_root, &self.uid);
        results.push(unlinked.map_err(|error| PortError::new(format!("cannot remove the links to logs: {error}"))));
        let (ports, uid) = (self.ports.clone(), self.uid.clone());
        let unmounted = tokio::task::spawn_blocking(move || ports.volumes.unmount(&uid)).await;
        results.push(unmounted.unwrap_or_else(|_| Err(PortError::new("unmounting volumes panicked"))));
        results.into_iter().filter_map(Result::err).map(|error| error.message).collect()
    }

    fn remove_logs(&self) {
        let logs = spec::log_dir(&self.settings.log_root, &self.pod);
        if let Err(error) = fs::remove_dir_all(&logs)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(uid = self.uid, %error, "logs of a pod are not removed");
        }
    }

    pub(super) async fn forget(&self, state: &State) {
        if !state.halted {
            self.remove_logs();
        }
        if let Err(error) = self.settings.records.remove(&self.uid) {
            tracing::warn!(uid = self.uid, %error, "the record of a pod is not removed");
        }
        if !state.halted {
            let meta = &self.pod.metadata;
            let text = |field: &Option<String>| field.clone().unwrap_or_default();
            self.ports.reporter.pod_gone(&text(&meta.namespace), &text(&meta.name), &self.uid);
        }
    }

    pub(super) fn log_path(&self, name: &str, attempt: u32) -> PathBuf {
        spec::log_dir(&self.settings.log_root, &self.pod).join(name).join(format!("{attempt}.log"))
    }

    /// For `terminationMessagePolicy: FallbackToLogsOnError`.
    pub(super) fn with_log_tail(&self, state: &State, container_id: &str, mut exit: Exit) -> Exit {
        let slot = state.slots.iter().find(|slot| slot.container_id.as_deref() == Some(container_id));
        let Some(slot) = slot else { return exit };
        let policy = container(&self.pod, &slot.name).and_then(|one| one.termination_message_policy.as_deref());
        if exit.code != 0 && exit.message.is_empty() && policy == Some("FallbackToLogsOnError") {
            exit.message = log_tail(&self.log_path(&slot.name, slot.made.saturating_sub(1))).unwrap_or_default();
        }
        exit
    }
}

/// The end of a CRI-format log, without its prefixes.
fn log_tail(path: &std::path::Path) -> std::io::Result<String> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    // Prefixes take about as much room as short lines do.
    let from = length.saturating_sub(2 * LOG_TAIL_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(2 * LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<&str> = text.lines().skip(usize::from(from > 0)).collect();
    let skip = lines.len().saturating_sub(LOG_TAIL_LINES);
    lines.drain(..skip);
    let bare: String =
        lines.iter().filter_map(|line| line.splitn(4, ' ').nth(3)).map(|line| format!("{line}\n")).collect();
    let cut = bare.len().saturating_sub(LOG_TAIL_BYTES as usize);
    let cut = (cut..bare.len()).find(|at| bare.is_char_boundary(*at)).unwrap_or(bare.len());
    Ok(bare[cut..].to_owned())
}

/// `SIGQUIT`, `QUIT`, `3`, `SIGRTMIN+3`.
fn signal_number(name: &str) -> Option<i32> {
    const NAMES: [(&str, i32); 16] = [
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ILL", 4),
        ("TRAP", 5),
        ("ABRT", 6),
        ("BUS", 7),
        ("FPE", 8),
        ("KILL", 9),
        ("USR1", 10),
        ("SEGV", 11),
        ("USR2", 12),
        ("PIPE", 13),
        ("ALRM", 14),
        ("TERM", 15),
        ("WINCH", 28),
    ];
    const REALTIME_MIN: i32 = 34;
    if let Ok(number) = name.parse() {
        return (1..=64).contains(&number).then_some(number);
    }
    let bare = name.trim().to_ascii_uppercase();
    let bare = bare.strip_prefix("SIG").unwrap_or(&bare);
    if let Some(offset) = bare.strip_prefix("RTMIN") {
        let offset: i32 = if offset.is_empty() { 0 } else { offset.strip_prefix('+')?.parse().ok()? };
        return (0..=30).contains(&offset).then_some(REALTIME_MIN + offset);
    }
    NAMES.iter().find(|(known, _)| *known == bare).map(|(_, number)| *number)
}
