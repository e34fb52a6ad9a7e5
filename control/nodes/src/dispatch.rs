//! The one task that watches for all nodes and sorts changes into their outboxes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use control_api::Resource;
use control_api::resource::{
    CONFIG_MAPS, NETWORK_POLICIES, NODES, PERSISTENT_VOLUME_CLAIMS, PODS, SECRETS, SERVICE_ACCOUNTS,
};
use control_client::Client;
use control_store::{Event, EventKind, Expired, Watch};
use futures_util::future::select_all;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::broadcast::Broadcast;
use crate::desired::{Desired, Effect, Reference, references};
use crate::outbox::Outbox;
use crate::shared::{Shared, WHOLE};

/// The first news after a silence are told at once. Those that follow wait, and are told together, so that telling them
/// costs at most a fifth of a core: half a second with a thousand nodes, nothing to speak of with ten.
const PAUSE_A_NODE: Duration = Duration::from_micros(500);

/// A session that wants its node's desired state from now on.
pub struct Subscribe {
    pub node: Arc<str>,
    /// The revision that the node has, where it can go on from it.
    pub since: Option<u64>,
    pub outbox: Arc<Outbox>,
}

/// What a node's pods may name.
static NAMED: [&Resource; 4] = [&CONFIG_MAPS, &SECRETS, &SERVICE_ACCOUNTS, &PERSISTENT_VOLUME_CLAIMS];

/// In the order in which what is there already is taken: what every node has before the pods that need it.
struct Watches(Vec<Watch>);

impl Watches {
    fn new(client: &Client, from: u64) -> Result<Self, Expired> {
        let resources = [&WHOLE[..], &[&NODES], &NAMED, &[&PODS]].concat();
        Ok(Self(resources.into_iter().map(|resource| client.watch(resource, from)).collect::<Result<_, _>>()?))
    }

    /// Cancel-safe, as each watch is.
    async fn next(&mut self) -> Result<Vec<Event>, Expired> {
        select_all(self.0.iter_mut().map(|watch| Box::pin(watch.next()))).await.0
    }

    /// What is there already.
    fn ready(&mut self) -> Result<Vec<Event>, Expired> {
        let mut found = Vec::new();
        for watch in &mut self.0 {
            found.append(&mut watch.ready()?);
        }
        Ok(found)
    }
}

/// Runs until every sender of subscriptions is gone.
pub async fn run(client: Client, broadcast: Arc<Broadcast>, mut subscriptions: mpsc::Receiver<Subscribe>) {
    let mut dispatcher = Dispatcher {
        client,
        broadcast,
        unpublished: false,
        publish_from: Instant::now(),
        desired: Desired::default(),
        shared: Shared::default(),
        outboxes: HashMap::new(),
        position: 0,
    };
    let mut watches = None;
    loop {
        let Some(current) = &mut watches else {
            watches = dispatcher.start().ok();
            continue;
        };
        let turn = tokio::select! {
            subscription = subscriptions.recv() => {
                let Some(subscription) = subscription else { return };
                dispatcher.catch_up(current, Vec::new()).map(|()| Some(subscription))
            }
            events = current.next() => match events {
                Ok(events) => dispatcher.catch_up(current, events).map(|()| None),
                Err(expired) => Err(expired),
            },
            () = tokio::time::sleep_until(dispatcher.publish_from), if dispatcher.unpublished => {
                dispatcher.publish();
                Ok(None)
            }
        };
        match turn {
            Ok(Some(subscription)) => dispatcher.subscribe(subscription),
            Ok(None) => {}
            Err(expired) => {
                tracing::warn!(%expired, "fell behind the store's history; every node is told everything again");
                watches = None;
            }
        }
    }
}

struct Dispatcher {
    client: Client,
    broadcast: Arc<Broadcast>,
    /// Something was set that not every node is told yet.
    unpublished: bool,
    publish_from: Instant,
    desired: Desired,
    shared: Shared,
    outboxes: HashMap<Arc<str>, Arc<Outbox>>,
    position: u64,
}

impl Dispatcher {
    /// Reads everything anew.
    fn start(&mut self) -> Result<Watches, Expired> {
        let listing = self.client.list(&PODS, None);
        self.desired = Desired::default();
        for pod in &listing.items {
            self.desired.pod(pod, false);
        }
        let policies = self.client.list(&NETWORK_POLICIES, None).items.len();
        self.shared = Shared::new(&self.client.list(&NODES, None).items, &listing.items, policies);
        self.position = listing.revision;
        let watches = Watches::new(&self.client, listing.revision)?;
        let whole = WHOLE.into_iter().flat_map(|resource| self.client.list(resource, None).items);
        self.broadcast.restart(whole.chain(self.shared.all().cloned()), listing.revision);
        for (node, outbox) in &self.outboxes {
            self.tell_all(node, outbox);
        }
        Ok(watches)
    }

    /// Handles `events` and all that came before this moment's revision, then lets sessions send.
    fn catch_up(&mut self, watches: &mut Watches, events: Vec<Event>) -> Result<(), Expired> {
        let mut touched = BTreeSet::new();
        self.take(events, &mut touched);
        // A change is visible before its revision is: what is ready now covers that revision.
        let revision = self.client.revision();
        loop {
            let events = watches.ready()?;
            if events.is_empty() {
                break;
            }
            self.take(events, &mut touched);
        }
        self.position = revision;
        for node in touched {
            if let Some(outbox) = self.outboxes.get(&node) {
                outbox.flush(self.position, self.broadcast.last());
            }
        }
        if self.unpublished && Instant::now() >= self.publish_from {
            self.publish();
        }
        Ok(())
    }

    fn publish(&mut self) {
        self.broadcast.publish(self.position);
        self.unpublished = false;
        let nodes = u32::try_from(self.outboxes.len()).unwrap_or(u32::MAX);
        self.publish_from = Instant::now() + PAUSE_A_NODE.saturating_mul(nodes);
    }

    fn take(&mut self, events: Vec<Event>, touched: &mut BTreeSet<Arc<str>>) {
        let mut policies_changed = None;
        for event in events {
            let removed = event.kind == EventKind::Deleted;
            let (resource, revision) = (event.object.key.resource, event.object.revision);
            if resource == &PODS {
                let shared = self.shared.pod(&event.object, removed);
                self.tell_everyone(shared, revision);
                for (node, effect) in self.desired.pod(&event.object, removed) {
                    self.tell(&node, effect, touched);
                }
                continue;
            }
            if resource == &NODES {
                let effect = self.shared.node(&event.object, removed);
                self.tell_everyone(effect, revision);
                continue;
            }
            let reference = Reference::of(&event.object);
            let effect = match removed {
                true => Effect::Drop(reference.clone()),
                false => Effect::Put(event.object.clone()),
            };
            if WHOLE.contains(&resource) {
                if resource == &NETWORK_POLICIES {
                    policies_changed = Some(revision);
                }
                self.tell_everyone(Some(effect), revision);
                continue;
            }
            let users: Vec<Arc<str>> = self.desired.users(&reference).cloned().collect();
            for node in users {
                self.tell(&node, effect.clone(), touched);
            }
        }
        if let Some(revision) = policies_changed {
            let count = self.client.list(&NETWORK_POLICIES, None).items.len();
            let client = self.client.clone();
            let effects = self.shared.policies(count, || client.list(&PODS, None).items);
            self.tell_everyone(effects, revision);
        }
    }

    fn tell_everyone(&mut self, effects: impl IntoIterator<Item = Effect>, revision: u64) {
        for effect in effects {
            match effect {
                Effect::Put(object) => self.broadcast.set(Reference::of(&object), Some(object), revision),
                Effect::Drop(reference) => self.broadcast.set(reference, None, revision),
                // Only one node's pods need something.
                Effect::Need(_) => continue,
            }
            self.unpublished = true;
        }
    }

    fn tell(&self, node: &Arc<str>, effect: Effect, touched: &mut BTreeSet<Arc<str>>) {
        let Some(outbox) = self.outboxes.get(node) else { return };
        touched.insert(node.clone());
        match effect {
            Effect::Put(object) => outbox.put(object),
            Effect::Drop(reference) => outbox.delete(reference),
            Effect::Need(reference) => self.put_reference(outbox, &reference),
        }
    }

    fn put_reference(&self, outbox: &Outbox, reference: &Reference) {
        let found = self.client.get(reference.resource(), &reference.namespace, &reference.name);
        if let Some(object) = found {
            outbox.put(object);
        }
    }

    fn subscribe(&mut self, subscription: Subscribe) {
        let Subscribe { node, since, outbox } = subscription;
        if let Some(old) = self.outboxes.insert(node.clone(), outbox.clone()) {
            old.close();
        }
        let resumed = match since {
            Some(since) => self.resume(&node, &outbox, since),
            None => Err(Expired { asked: 0, oldest: 0 }),
        };
        match resumed {
            Ok(()) => outbox.flush(self.position, self.broadcast.last()),
            Err(_) => self.tell_all(&node, &outbox),
        }
    }

    fn tell_all(&self, node: &str, outbox: &Outbox) {
        outbox.reset();
        for reference in self.desired.references(node) {
            self.put_reference(outbox, &reference);
        }
        for pod in self.desired.pods(node) {
            outbox.put(pod.clone());
        }
        outbox.flush(self.position, self.broadcast.last());
    }

    /// Tells what changed after `since`: of pods by their history, of what they name by its revision.
    fn resume(&self, node: &str, outbox: &Outbox, since: u64) -> Result<(), Expired> {
        if since > self.position || !self.broadcast.reaches_back_to(since) {
            return Err(Expired { asked: since, oldest: self.position });
        }
        let events = self.client.watch(&PODS, since)?.ready()?;
        outbox.resume(since);
        let needed = self.desired.references(node);
        let current: HashMap<Reference, _> =
            self.desired.pods(node).map(|pod| (Reference::of(pod), pod.clone())).collect();
        let mut named = BTreeSet::new();
        let mut gone = BTreeSet::new();
        for event in &events {
            for version in [Some(&event.object), event.previous.as_ref()].into_iter().flatten() {
                let Some((_, references)) = references(version).filter(|(at, _)| **at == *node) else { continue };
                named.extend(references);
                gone.insert(Reference::of(version));
            }
        }
        for reference in &needed {
            match self.client.get(reference.resource(), &reference.namespace, &reference.name) {
                Some(object) if object.revision > since || named.contains(reference) => outbox.put(object),
                Some(_) => {}
                None => outbox.delete(reference.clone()),
            }
        }
        for key in gone {
            match current.get(&key) {
                Some(pod) => {
                    // Another pod of the name may have been there at `since`.
                    let same = events
                        .iter()
                        .all(|event| Reference::of(&event.object) != key || event.object.meta.uid == pod.meta.uid);
                    if !same {
                        outbox.delete(key);
                    }
                    outbox.put(pod.clone());
                }
                None => outbox.delete(key),
            }
        }
        named.difference(&needed).for_each(|reference| outbox.delete(reference.clone()));
        Ok(())
    }
}
