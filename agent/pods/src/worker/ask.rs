//! Effects that ask something of a running container: probes and hooks. They are dropped with the container.

use std::time::Duration;

use super::Context;
use crate::machine::{Event, HookKind, Outcome, ProbeKind, container};
use crate::prober::Target;

impl Context {
    fn target<'a>(&'a self, id: &'a str, name: &str) -> Option<Target<'a>> {
        let container = container(&self.pod, name)?;
        let pod_ip = self.facts.pod_ips.first().map_or("", String::as_str);
        Some(Target { runtime: &*self.ports.runtime, uid: &self.uid, container_id: id, container, pod_ip })
    }

    pub(super) async fn probe(self, container_id: String, name: String, kind: ProbeKind) {
        let outcome = match self.target(&container_id, &name) {
            Some(target) => match kind.of(target.container) {
                Some(probe) => target.probe(probe).await,
                None => Outcome::Success,
            },
            None => Outcome::Error("no such container".to_owned()),
        };
        self.tell(Event::Probed { container_id, kind, outcome }).await;
    }

    pub(super) async fn hook(self, container_id: String, name: String, hook: HookKind, limit: Option<Duration>) {
        let run = match self.target(&container_id, &name) {
            Some(target) => match hook.of(target.container) {
                Some(handler) => target.hook(handler, limit).await,
                None => Ok(()),
            },
            None => Err("no such container".to_owned()),
        };
        if let Err(error) = &run {
            tracing::warn!(uid = self.uid, container = name, ?hook, error, "a lifecycle hook failed");
        }
        self.tell(Event::Hooked { container_id, hook, succeeded: run.is_ok() }).await;
    }
}
