//! The one task that watches for all nodes and sorts changes into their outboxes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use control_api::resource::{CONFIG_MAPS, PODS, SECRETS, SERVICE_ACCOUNTS};
use control_client::Client;
use control_store::{Event, EventKind, Expired, Watch};
use tokio::sync::mpsc;

use crate::desired::{Desired, Effect, Reference, references};
use crate::outbox::Outbox;

/// A session that wants its node's desired state from now on.
pub struct Subscribe {
    pub node: Arc<str>,
    /// The revision that the node has, where it can go on from it.
    pub since: Option<u64>,
    pub outbox: Arc<Outbox>,
}

struct Watches {
    pods: Watch,
    config_maps: Watch,
    secrets: Watch,
    service_accounts: Watch,
}

impl Watches {
    fn new(client: &Client, from: u64) -> Result<Self, Expired> {
        Ok(Self {
            pods: client.watch(&PODS, from)?,
            config_maps: client.watch(&CONFIG_MAPS, from)?,
            secrets: client.watch(&SECRETS, from)?,
            service_accounts: client.watch(&SERVICE_ACCOUNTS, from)?,
        })
    }

    /// Cancel-safe, as each watch is.
    async fn next(&mut self) -> Result<Vec<Event>, Expired> {
        tokio::select! {
            events = self.pods.next() => events,
            events = self.config_maps.next() => events,
            events = self.secrets.next() => events,
            events = self.service_accounts.next() => events,
        }
    }

    /// What is there already.
    async fn ready(&mut self) -> Result<Option<Vec<Event>>, Expired> {
        tokio::select! {
            biased;
            events = self.next() => events.map(Some),
            () = std::future::ready(()) => Ok(None),
        }
    }
}

/// Runs until every sender of subscriptions is gone.
pub async fn run(client: Client, mut subscriptions: mpsc::Receiver<Subscribe>) {
    let mut dispatcher = Dispatcher { client, desired: Desired::default(), outboxes: HashMap::new(), position: 0 };
    let mut watches = None;
    loop {
        let Some(current) = &mut watches else {
            watches = dispatcher.start().ok();
            continue;
        };
        let turn = tokio::select! {
            subscription = subscriptions.recv() => {
                let Some(subscription) = subscription else { return };
                dispatcher.catch_up(current, Vec::new()).await.map(|()| Some(subscription))
            }
            events = current.next() => match events {
                Ok(events) => dispatcher.catch_up(current, events).await.map(|()| None),
                Err(expired) => Err(expired),
            },
        };
        match turn {
            Ok(Some(subscription)) => dispatcher.subscribe(subscription).await,
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
    desired: Desired,
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
        self.position = listing.revision;
        let watches = Watches::new(&self.client, listing.revision)?;
        for (node, outbox) in &self.outboxes {
            self.tell_all(node, outbox);
        }
        Ok(watches)
    }

    /// Handles `events` and all that came before this moment's revision, then lets sessions send.
    async fn catch_up(&mut self, watches: &mut Watches, events: Vec<Event>) -> Result<(), Expired> {
        let mut touched = BTreeSet::new();
        self.take(events, &mut touched);
        // A change is visible before its revision is: what is ready now covers that revision.
        let revision = self.client.revision();
        while let Some(events) = watches.ready().await? {
            self.take(events, &mut touched);
        }
        self.position = revision;
        for node in touched {
            if let Some(outbox) = self.outboxes.get(&node) {
                outbox.flush(self.position);
            }
        }
        Ok(())
    }

    fn take(&mut self, events: Vec<Event>, touched: &mut BTreeSet<Arc<str>>) {
        for event in events {
            let removed = event.kind == EventKind::Deleted;
            if event.object.key.resource == &PODS {
                for (node, effect) in self.desired.pod(&event.object, removed) {
                    self.tell(&node, effect, touched);
                }
                continue;
            }
            let reference = Reference::of(&event.object);
            let users: Vec<Arc<str>> = self.desired.users(&reference).cloned().collect();
            for node in users {
                let effect = match removed {
                    true => Effect::Drop(reference.clone()),
                    false => Effect::Put(event.object.clone()),
                };
                self.tell(&node, effect, touched);
            }
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

    async fn subscribe(&mut self, subscription: Subscribe) {
        let Subscribe { node, since, outbox } = subscription;
        if let Some(old) = self.outboxes.insert(node.clone(), outbox.clone()) {
            old.close();
        }
        let resumed = match since {
            Some(since) => self.resume(&node, &outbox, since).await,
            None => Err(Expired { asked: 0, oldest: 0 }),
        };
        match resumed {
            Ok(()) => outbox.flush(self.position),
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
        outbox.flush(self.position);
    }

    /// Tells what changed after `since`: of pods by their history, of what they name by its revision.
    async fn resume(&self, node: &str, outbox: &Outbox, since: u64) -> Result<(), Expired> {
        if since > self.position {
            return Err(Expired { asked: since, oldest: self.position });
        }
        let mut watch = self.client.watch(&PODS, since)?;
        let needed = self.desired.references(node);
        let current: HashMap<Reference, _> =
            self.desired.pods(node).map(|pod| (Reference::of(pod), pod.clone())).collect();
        let mut named = BTreeSet::new();
        let mut gone = BTreeSet::new();
        let events = tokio::select! {
            biased;
            events = watch.next() => events?,
            () = std::future::ready(()) => Vec::new(),
        };
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
