//! The node's side of its session with a server: desired state in, news out, streams served; again and again.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use agent_pods::ports::Clock;
use anyhow::{Context, Result, bail};
use control_wire::addresses;
use control_wire::{Accepted, Hello, Incoming, Link, Report, ReportStream, StreamError};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::adapters::{self, SystemClock};
use crate::daemon::{Node, node_images, own_address};
use crate::desired::{self, Position};
use crate::membership::{Membership, jitter};
use crate::{attach, exec, forward, tokens, usage};

const PAUSE_MIN: Duration = Duration::from_millis(200);
/// The longest pause before a server that accepts and then fails is tried again.
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// A session that lasted so long was a good one.
const GOOD_AFTER: Duration = Duration::from_secs(30);
/// An acknowledgement after a change of address takes longer only where the path is gone.
const REBIND_SECONDS_MAX: u64 = 2;
/// With a heartbeat before it and a new connection after it this is less than the 50 s that make a node NotReady.
const ANSWER_SECONDS_MAX: u64 = 12;
/// Until then it is asked again so often.
const ASK_AGAIN: Duration = Duration::from_secs(1);
const HEARTBEAT: Duration = Duration::from_secs(10);

pub struct Uplink {
    membership: Arc<Membership>,
    hello: Hello,
    /// The Node object, whose status is `status`.
    node: Value,
    status: Value,
    addresses: watch::Receiver<Vec<IpAddr>>,
}

impl Uplink {
    pub fn new(membership: Membership, hello: Hello, node: Value, status: Value) -> Result<Self> {
        let addresses = addresses::follow().context("cannot follow this machine's addresses")?;
        let membership = Arc::new(membership);
        Ok(Self { membership, hello, node, status, addresses })
    }

    /// Dials until a server answers.
    pub async fn connect(&mut self) -> (Link, Accepted) {
        self.refresh_addresses();
        let mut object = self.node.clone();
        object["status"] = self.status.clone();
        let node = object.to_string().into_bytes();
        self.membership.connect(|| Hello { node: node.clone(), ..self.hello.clone() }).await
    }

    /// `status.addresses` as they are now; true where they changed.
    fn refresh_addresses(&mut self) -> bool {
        let Some(own) = own_address(&self.membership.identity().addresses) else { return false };
        let own =
            json!([{"type": "InternalIP", "address": own}, {"type": "Hostname", "address": self.hello.node_name}]);
        let changed = self.status["addresses"] != own;
        self.status["addresses"] = own;
        changed
    }

    /// As the Node tells them.
    fn own_addresses(&self) -> Vec<String> {
        let told = self.status["addresses"].as_array().into_iter().flatten();
        let own = told.filter(|address| address["type"] == "InternalIP");
        own.filter_map(|address| address["address"].as_str().map(str::to_owned)).collect()
    }

    pub async fn run(mut self, node: Node, mut connected: Option<Link>) {
        let mut position = Position::default();
        let mut pause = PAUSE_MIN;
        loop {
            let link = match connected.take() {
                Some(link) => link,
                None => {
                    let (link, accepted) = self.connect().await;
                    if node.cache.network().as_ref() != Some(&accepted.network) {
                        let told = accepted.network;
                        tracing::error!(?told, "the server tells of another network than before; reset the node");
                    }
                    link
                }
            };
            tracing::info!(server = %link.remote_address(), "connected");
            let begun = Instant::now();
            let ended = self.session(&node, &link, &mut position).await;
            if let Err(error) = ended {
                tracing::warn!(error = format!("{error:#}"), "connection to the server ended");
            }
            // A server that accepts and then fails at once must not be asked in a tight loop.
            pause = if begun.elapsed() > GOOD_AFTER { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
            tokio::time::sleep(pause.mul_f64(jitter())).await;
        }
    }

    async fn session(&mut self, node: &Node, link: &Link, position: &mut Position) -> Result<()> {
        position.begin();
        let reports = link.report().await?;
        let stream = link.sync(position.revision, position.epoch).await?;
        node.outbox.node_status(serde_json::to_vec(&self.status)?);
        node.fleet.moved(self.own_addresses()).await;
        node.static_pods.report(&node.outbox);
        node.fleet.report().await;
        let membership = self.membership.clone();
        tokio::select! {
            ended = desired::follow(node, stream, position) => ended,
            ended = self.tell(node, link, reports) => ended,
            () = membership.renewals(link) => Ok(()),
            ended = serve(node, link) => ended,
            ended = tokens::keep(node, link) => ended,
        }
    }

    /// Takes the connection to the new address, and sees within seconds whether it came along: else a new one is faster
    /// than waiting for the old one's timers.
    async fn moved(&mut self, link: &Link, stream: &mut ReportStream) -> Result<()> {
        tracing::info!("this machine's addresses changed");
        link.rebind().context("cannot move the connection to the new address")?;
        let heard = async {
            stream.send(&Report::Heartbeat { time_ms: SystemClock.now().as_millisecond() }).await?;
            stream.flushed().await
        };
        match tokio::time::timeout(Duration::from_secs(REBIND_SECONDS_MAX), heard).await {
            Ok(heard) => Ok(heard?),
            Err(_) => bail!("the server does not answer since this machine's addresses changed"),
        }
    }

    /// The only timer of an idle agent is here: a heartbeat, and a look whether the Node has changed.
    async fn tell(&mut self, node: &Node, link: &Link, mut stream: ReportStream) -> Result<()> {
        let mut next = Instant::now();
        loop {
            let beat = tokio::select! {
                () = tokio::time::sleep_until(next) => true,
                () = node.outbox.filled() => false,
                Ok(()) = self.addresses.changed() => {
                    self.moved(link, &mut stream).await?;
                    true
                }
            };
            if beat {
                next = Instant::now() + HEARTBEAT;
                let now = SystemClock.now();
                in_time(stream.send(&Report::Heartbeat { time_ms: now.as_millisecond() })).await?;
                let moved = self.refresh_addresses();
                let (images, pressure) = (node_images(&node.images), node.shortage.pressure());
                let mut status = node.machine.status(&images, pressure, Some(&self.status), now);
                status["addresses"] = self.status["addresses"].clone();
                if moved {
                    node.fleet.moved(self.own_addresses()).await;
                }
                if moved || status != self.status {
                    node.outbox.node_status(serde_json::to_vec(&status)?);
                    self.status = status;
                }
            }
            let mut batch = Batch { node, reports: node.outbox.take() };
            for report in &batch.reports {
                in_time(stream.send(report)).await?;
            }
            in_time(answered(&mut stream)).await?;
            batch.reports.clear();
        }
    }
}

/// Without an answer for so long the server is gone or elsewhere; the transport alone would tell much later.
async fn in_time(told: impl Future<Output = Result<(), StreamError>>) -> Result<()> {
    match tokio::time::timeout(Duration::from_secs(ANSWER_SECONDS_MAX), told).await {
        Ok(told) => Ok(told?),
        Err(_) => bail!("the server does not answer"),
    }
}

/// Everything sent has arrived. A server that was started anew in between knows nothing of this connection, and says so
/// to whoever sends it something.
async fn answered(stream: &mut ReportStream) -> Result<(), StreamError> {
    loop {
        if let Ok(flushed) = tokio::time::timeout(ASK_AGAIN, stream.flushed()).await {
            return flushed;
        }
        stream.send(&Report::Heartbeat { time_ms: SystemClock.now().as_millisecond() }).await?;
    }
}

/// Reports on their way: back into the outbox unless all arrived, also when the session is dropped midway.
struct Batch<'a> {
    node: &'a Node,
    reports: Vec<Report>,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.node.outbox.give_back(std::mem::take(&mut self.reports));
    }
}

async fn serve(node: &Node, link: &Link) -> Result<()> {
    loop {
        match link.accept().await? {
            Incoming::Log(request, sink) => drop(tokio::spawn(exec::logs(node.clone(), request, sink))),
            Incoming::Platforms(request, reply) => {
                drop(tokio::spawn(adapters::platforms(node.images.clone(), request, reply)));
            }
            Incoming::Exec(request, pipe) => drop(tokio::spawn(exec::exec(node.clone(), request, pipe))),
            Incoming::Attach(request, pipe) => drop(tokio::spawn(attach::attach(node.clone(), request, pipe))),
            Incoming::Usage(request, reply) => drop(tokio::spawn(usage::answer(node.clone(), request, reply))),
            Incoming::Forward(request, call) => drop(tokio::spawn(forward::forward(node.clone(), request, call))),
        }
    }
}
