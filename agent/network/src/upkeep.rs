//! The node's network is kept as it has to be: after a start, a wish, or a change by somebody else.
//!
//! One task waits for notices of the kernel and compares; its own changes come back as notices too, and find
//! nothing to do. Nothing is polled.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{sync::watch, task::AbortHandle};

use crate::{
    fingerprint, foreign, kernel,
    link::link_name,
    mend,
    netns::{failed, inside, sysctl},
    network::{Config, Error, Network, PodNetwork, Shared},
    plan::{self, Peer, overlay_name},
    pod_range, policy,
    ruleset::table_name,
    state::{self, State},
    watch::{Changed, Sockets, Watch},
};

const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
const MTU_DEFAULT: u32 = 1500;

/// What is wished, and what was seen last.
pub(crate) struct Upkeep {
    kept: Mutex<Kept>,
    changes: watch::Sender<u64>,
    task: Mutex<Option<AbortHandle>>,
}

#[derive(Default)]
struct Kept {
    /// Absent until somebody named them.
    peers: Option<Vec<Peer>>,
    locals: BTreeSet<Ipv4Addr>,
    /// Pods connected since the agent's start, with their namespaces.
    pods: BTreeMap<String, PathBuf>,
    pod_mtu: Option<u32>,
    addresses: Vec<Ipv4Addr>,
    way_out: Option<(u32, Option<Ipv4Addr>)>,
    trouble: Option<String>,
    print: u64,
}

impl Upkeep {
    pub fn new(config: &Config) -> Self {
        // Service connections of a node without a LAN start from it, as do those through the overlay.
        let locals = BTreeSet::from([pod_range::gateway(config.pod_range)]);
        let kept = Mutex::new(Kept { locals, ..Kept::default() });
        Self { kept, changes: watch::Sender::new(0), task: Mutex::new(None) }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn attached(&self, uid: &str, netns: &Path) {
        self.kept().pods.insert(uid.to_owned(), netns.to_owned());
    }

    pub fn detached(&self, gone: impl Fn(&str) -> bool) {
        self.kept().pods.retain(|uid, _| !gone(uid));
    }

    pub fn applied(&self, print: u64) {
        self.kept().print = print;
    }

    /// The addresses of the other nodes, where they are known.
    pub fn nodes(&self) -> Option<BTreeSet<Ipv4Addr>> {
        let kept = self.kept();
        kept.peers.as_ref().map(|peers| peers.iter().flat_map(|peer| peer.addresses.iter().copied()).collect())
    }

    pub fn locals(&self) -> BTreeSet<Ipv4Addr> {
        self.kept().locals.clone()
    }

    pub fn pod_mtu(&self) -> u32 {
        self.kept().pod_mtu.unwrap_or(MTU_DEFAULT)
    }

    /// Takes note of the node's own addresses; whoever follows them is told of a change.
    fn see(&self, state: &State, trouble: Option<String>) {
        let (addresses, way_out) = (plan::lan_addresses(state), plan::way_out(state));
        let mut kept = self.kept();
        if trouble.is_some() && kept.trouble != trouble {
            tracing::error!(trouble, "the pod network is in trouble");
        }
        kept.trouble = trouble;
        if kept.addresses != addresses || kept.way_out != way_out {
            (kept.addresses, kept.way_out) = (addresses, way_out);
            drop(kept);
            self.changes.send_modify(|count| *count += 1);
        }
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

impl Network {
    /// The first pass, and the task that goes on with it.
    pub(crate) async fn begin(&self) -> Result<(), Error> {
        let config = &self.shared.config;
        // Before the first look, so that no change is missed between the two.
        let sockets = inside(config.netns.as_deref(), |_| async {
            kernel::check()?;
            foreign::warn();
            Sockets::open().map_err(failed("listen for changes of the network"))
        });
        let sockets = sockets.await?;
        let _changing = self.shared.changing.lock().await;
        let state = self.look().await?;
        plan::check_overlap(config, &state)?;
        self.apply(true).await?;
        self.mend(&state).await?;
        let watch = Watch::new(sockets, &[table_name(&config.node), policy::table_name(&config.node)])
            .map_err(failed("follow changes of the network"))?;
        let task = tokio::spawn(follow(Arc::downgrade(&self.shared), watch));
        *self.shared.upkeep.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.abort_handle());
        Ok(())
    }

    /// The other nodes of the cluster, all of them; routes to those that are no longer named go.
    pub async fn set_peers(&self, peers: Vec<Peer>) -> Result<(), Error> {
        let _changing = self.shared.changing.lock().await;
        let had = self.shared.upkeep.nodes();
        let before = self.shared.upkeep.kept().peers.replace(peers.clone());
        if before == Some(peers) {
            return Ok(());
        }
        if self.shared.upkeep.nodes() != had {
            self.apply(false).await?;
        }
        self.pass().await
    }

    /// Pods that outlived the agent, as they were attached: what is amiss with their links is mended from now on.
    pub async fn adopt(&self, pods: &[PodNetwork]) -> Result<(), Error> {
        let _changing = self.shared.changing.lock().await;
        for pod in pods.iter().filter(|pod| self.address(&pod.uid).is_some()) {
            self.shared.upkeep.attached(&pod.uid, &pod.netns);
            self.shared.policing.attached(&pod.uid, &pod.identity);
        }
        self.pass().await
    }

    /// Gives the node an address of its own, such as that of its DNS; gone with the teardown.
    pub async fn add_local(&self, address: Ipv4Addr) -> Result<(), Error> {
        let _changing = self.shared.changing.lock().await;
        self.shared.upkeep.kept().locals.insert(address);
        self.pass().await?;
        self.enforce().await
    }

    /// Ticks when the node's own addresses or its default route changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.upkeep.changes.subscribe()
    }

    /// The node's addresses on its networks, that of the default route first.
    pub fn addresses(&self) -> Vec<Ipv4Addr> {
        self.shared.upkeep.kept().addresses.clone()
    }

    /// What keeps the pod network from working, in words.
    pub fn trouble(&self) -> Option<String> {
        self.shared.upkeep.kept().trouble.clone()
    }

    async fn look(&self) -> Result<State, Error> {
        let config = &self.shared.config;
        let overlay = overlay_name(&config.node);
        inside(config.netns.as_deref(), |node| async move { state::load(&node, &overlay).await }).await
    }

    /// Compares and mends once. The caller holds `changing`.
    async fn pass(&self) -> Result<(), Error> {
        let state = self.look().await?;
        self.mend(&state).await
    }

    async fn mend(&self, state: &State) -> Result<(), Error> {
        let (config, upkeep) = (&self.shared.config, &self.shared.upkeep);
        let (peers, locals) = {
            let mut kept = upkeep.kept();
            kept.pod_mtu = Some(plan::pod_mtu(config, state));
            (kept.peers.clone(), kept.locals.clone())
        };
        let overlap = plan::check_overlap(config, state).err().map(|error| error.to_string());
        let plan = plan::plan(config, state, peers.as_deref());
        let trouble = overlap.or_else(|| plan.refused.first().cloned());
        upkeep.see(state, trouble);
        let (own, seen, known) = (config.clone(), state.clone(), peers.is_some());
        inside(config.netns.as_deref(), move |node| async move {
            sysctl("ipv4/ip_forward", "1")?;
            mend::locals(&node, &seen, &locals).await?;
            mend::routes(&node, &own, &seen, &plan, known).await
        })
        .await?;
        self.mend_pods(state).await
    }

    /// Links of pods that somebody took apart, or whose MTU no longer is the LAN's.
    async fn mend_pods(&self, state: &State) -> Result<(), Error> {
        let config = &self.shared.config;
        let (pods, mtu) = {
            let kept = self.shared.upkeep.kept();
            (kept.pods.clone(), self.shared.config.mtu.or(kept.pod_mtu))
        };
        for (uid, netns) in pods {
            let Some(address) = self.address(&uid) else { continue };
            let whole = state.link(&link_name(&config.node, &uid)).is_some_and(|(index, link)| {
                let routed = |route: &state::RouteState| {
                    route.link == index && route.destination.prefix_len() == 32 && route.destination.base() == address
                };
                link.up
                    && Some(link.mtu) == mtu
                    && state.holds(index, pod_range::gateway(config.pod_range))
                    && state.routes.iter().any(routed)
            });
            // A namespace that is gone takes its pod's link with it, which is nothing to mend.
            if !whole
                && netns.exists()
                && let Err(error) = self.connect(&uid, address, &netns).await
            {
                tracing::warn!(uid, error = &error as &dyn std::error::Error, "cannot mend the link of a pod");
            }
        }
        Ok(())
    }

    async fn react(&self, changed: Changed) -> Result<(), Error> {
        let _changing = self.shared.changing.lock().await;
        if changed.filter {
            let config = &self.shared.config;
            let table = table_name(&config.node);
            let print = inside(config.netns.as_deref(), |_| async move {
                fingerprint::take(&table).map_err(failed(format!("read the table {table}")))
            });
            if print.await? != self.shared.upkeep.kept().print {
                self.apply(true).await?;
            }
            self.check_policies().await?;
        }
        if changed.routes { self.pass().await } else { Ok(()) }
    }
}

/// Ends with the network; it holds no part of it while it waits.
async fn follow(shared: Weak<Shared>, watch: Watch) {
    let mut retry = RETRY_MIN;
    let mut again: Option<Changed> = None;
    loop {
        let changed = match again.take() {
            // What failed is tried again, be it that nothing more happens.
            Some(failed) => match tokio::time::timeout(retry, watch.changed()).await {
                Ok(Ok(more)) => {
                    Ok(Changed { routes: failed.routes | more.routes, filter: failed.filter | more.filter })
                }
                Ok(Err(error)) => Err(error),
                Err(_) => Ok(failed),
            },
            None => watch.changed().await,
        };
        let Some(shared) = shared.upgrade() else { return };
        let network = Network { shared };
        let changed = match changed {
            Ok(changed) => changed,
            Err(error) => {
                tracing::error!(%error, "changes of the network are no longer followed");
                return;
            }
        };
        match network.react(changed).await {
            Ok(()) => retry = RETRY_MIN,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot mend the network");
                again = Some(changed);
                retry = (retry * 2).min(RETRY_MAX);
            }
        }
    }
}
