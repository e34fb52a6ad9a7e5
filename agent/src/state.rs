//! What the agent is doing, in a word: for a card's console, and for `systemctl status`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use control_wire::supervisor;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    #[default]
    Starting,
    /// Asks to be let in by its token.
    Joining,
    /// Waits for an administrator's word.
    Waiting,
    /// Is in the cluster, and has no connection to it.
    Connecting,
    Connected,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct State {
    pub phase: Phase,
    pub node: String,
    /// Of the node's key, as `bramble node approve` compares it.
    pub fingerprint: String,
    pub cluster: Option<String>,
    /// Why it is not further yet.
    pub problem: Option<String>,
}

impl State {
    fn line(&self) -> String {
        let cluster = self.cluster.as_deref().unwrap_or("?");
        let line = match self.phase {
            Phase::Starting => "Starting".to_owned(),
            Phase::Joining => "Joins by its token".to_owned(),
            Phase::Waiting => format!("Waits: bramble node approve {} {}", self.node, self.fingerprint),
            Phase::Connecting => format!("In cluster {cluster}, without a connection to it"),
            Phase::Connected => format!("In cluster {cluster}"),
        };
        match &self.problem {
            Some(problem) => format!("{line}: {problem}"),
            None => line,
        }
    }
}

/// Keeps the state, and says each change of it.
#[derive(Debug, Clone, Default)]
pub struct Teller(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    file: Option<PathBuf>,
    state: Mutex<State>,
}

impl Teller {
    pub fn new(file: Option<PathBuf>) -> Self {
        Self(Arc::new(Inner { file, state: Mutex::default() }))
    }

    pub fn tell(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.clone();
        change(&mut state);
        if *state == before {
            return;
        }
        supervisor::status(&state.line());
        let Some(file) = &self.0.file else { return };
        if let Err(error) = write(file, &state) {
            tracing::debug!(file = %file.display(), %error, "the state is not told");
        }
    }
}

/// In memory, so without a sync.
fn write(file: &Path, state: &State) -> io::Result<()> {
    let draft = file.with_added_extension("draft");
    std::fs::write(&draft, serde_json::to_vec(state)?)?;
    std::fs::rename(draft, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiting_node_says_how_to_let_it_in_and_why_it_waits() {
        let state = State {
            phase: Phase::Waiting,
            node: "pi-4".to_owned(),
            fingerprint: "0f1e-2d3c".to_owned(),
            problem: Some("join token has expired".to_owned()),
            cluster: None,
        };
        assert_eq!(state.line(), "Waits: bramble node approve pi-4 0f1e-2d3c: join token has expired");
    }
}
