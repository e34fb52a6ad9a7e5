//! What the command line asks of the server beside Kubernetes' own objects: links, waiting machines, certificates.

use control_api::Status;
use control_wire::fingerprint;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::nodes::Nodes;
use crate::pending;

impl Nodes {
    /// A document below `/bramble/v1`.
    pub(crate) fn read(&self, name: &str) -> Option<Value> {
        match name {
            "nodes" => Some(self.links()),
            "pending" => Some(self.room.list()),
            "server" => Some(self.server()),
            _ => None,
        }
    }

    pub(crate) fn let_in(&self, name: &str, told: &str) -> Result<Value, Status> {
        pending::approve(self, name, told)
    }

    fn links(&self) -> Value {
        let now = Instant::now();
        let seen = self.heard().clone();
        let items: Vec<Value> = seen
            .iter()
            .map(|(name, at)| {
                let mut item = json!({
                    "name": name,
                    "heardSecondsAgo": now.duration_since(*at).as_secs(),
                    "connected": false,
                });
                if let Some(session) = self.session(name) {
                    item["connected"] = json!(true);
                    item["address"] = json!(session.remote_address().to_string());
                    item["roundTripMicros"] = json!(session.round_trip().as_micros());
                    item["agentVersion"] = json!(session.agent_version());
                    item["certificateEnds"] = json!(session.certificate_ends());
                    item["fingerprint"] = json!(session.key_hash().as_ref().map(fingerprint));
                }
                item
            })
            .collect();
        json!({"items": items})
    }

    fn server(&self) -> Value {
        let certificates: Vec<Value> =
            self.pki.ends().iter().map(|(name, ends)| json!({"name": name, "ends": ends})).collect();
        json!({
            "version": self.config.server_version,
            "cluster": self.pki.cluster(),
            "fingerprint": fingerprint(&self.pki.ca_hash()),
            "certificates": certificates,
            "servers": *self.config.servers.borrow(),
        })
    }
}
