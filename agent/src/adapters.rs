//! The agent's parts as `agent/pods` asks for them.

mod command;
mod images;
mod network;
mod runtime;
mod volumes;

pub use images::{PodImages, platforms};
pub use network::{PodNetworks, attached, identity};
pub use runtime::{PodRuntime, exit, found};
pub use volumes::PodVolumes;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use agent_pods::ports::PortError;

/// An error and its sources as one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

fn told<E: std::error::Error>(error: E) -> PortError {
    PortError::new(chain(&error))
}

/// The machine's clock.
pub struct SystemClock;

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

impl agent_pods::ports::Clock for SystemClock {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    fn steady(&self) -> Duration {
        STARTED.elapsed()
    }
}
