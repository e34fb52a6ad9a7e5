//! Makes the kernel's table what the inbox says: which Service has which front, one batch, and what follows from it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use agent_nft::{Batch, Chain, Hook, HookPoint, Ruleset, Socket};

use crate::{
    affinity::{carry_over, follow},
    config::Config,
    error::Error,
    flows::forget_stale,
    front::{Front, Plan},
    inbox::Inbox,
    ruleset::{Sets, render},
    service::ServiceKey,
    state::{Changes, State},
};

/// How often clients are told to follow their targets, before they are let go.
const FOLLOW_TRIES_MAX: usize = 3;
/// Packets that a chain has taken have long left it by then.
const PACKETS_LEAVE: Duration = Duration::from_millis(20);

pub(crate) struct Engine {
    config: Config,
    sets: Sets,
    socket: Socket,
    state: State,
    /// The table is to be built anew: at the start, and after an error or somebody else's change.
    pub whole: bool,
    claims: Claims,
    /// Of the table that we made.
    handle: Option<u64>,
    /// Where each Service's health is asked for, and its endpoints here.
    pub health: BTreeMap<ServiceKey, (u16, usize)>,
}

/// Which Service has a front that more than one wants: the first keeps it.
#[derive(Default)]
struct Claims {
    owners: HashMap<Front, ServiceKey>,
    fronts: HashMap<ServiceKey, Vec<Front>>,
    waiting: BTreeMap<Front, BTreeSet<ServiceKey>>,
}

impl Engine {
    pub fn open(config: &Config) -> Result<Self, Error> {
        Ok(Self {
            socket: Socket::open_in(config.netns.as_deref()).map_err(Error::Netlink)?,
            config: config.clone(),
            sets: Sets::new(),
            state: State::default(),
            whole: true,
            claims: Claims::default(),
            handle: None,
            health: BTreeMap::new(),
        })
    }

    /// Applies what has changed since the last time. Answers with the generation that is in the kernel now.
    pub fn step(&mut self, inbox: &Mutex<Inbox>) -> Result<u64, Error> {
        let (changes, generation) = {
            let mut inbox = inbox.lock().unwrap_or_else(PoisonError::into_inner);
            (self.plan(&mut inbox), inbox.generation)
        };
        let whole = std::mem::replace(&mut self.whole, true);
        self.send(&changes, whole)?;
        self.whole = false;
        Ok(generation)
    }

    fn plan(&mut self, inbox: &mut Inbox) -> Changes {
        let mut keys = inbox.take_dirty();
        if self.whole {
            self.state = State::default();
            self.claims = Claims::default();
            self.health.clear();
            keys.extend(inbox.services().cloned());
        }
        let mut plans: BTreeMap<ServiceKey, Vec<(Front, Plan)>> = BTreeMap::new();
        let mut released = Vec::new();
        while let Some(key) = keys.pop_first() {
            match inbox.health(&key) {
                Some(health) => self.health.insert(key.clone(), health),
                None => self.health.remove(&key),
            };
            let fronts = inbox.fronts(&key);
            for front in self.claims.release(&key, &fronts) {
                let waiting = self.claims.waiting.remove(&front).unwrap_or_default();
                keys.extend(waiting.into_iter().filter(|waiting| !plans.contains_key(waiting)));
                released.push(front);
            }
            plans.insert(key, fronts);
        }
        let mut wanted: BTreeMap<Front, Option<Plan>> = released.into_iter().map(|front| (front, None)).collect();
        for (key, fronts) in plans {
            for (front, plan) in fronts {
                if self.claims.take(&key, front) {
                    wanted.insert(front, Some(plan));
                }
            }
        }
        let mut changes = Changes::default();
        for (front, plan) in wanted {
            self.state.change(front, plan, &mut changes);
        }
        changes
    }

    fn send(&mut self, changes: &Changes, whole: bool) -> Result<(), Error> {
        let table = self.config.table();
        let failed = |source| Error::Table { table: table.clone(), source };
        if whole {
            self.replace(changes).map_err(failed)?;
            self.handle = self.socket.table_handle(&table).map_err(failed)?;
        } else {
            let mut batch = Batch::new();
            self.state.write(changes, &mut batch, &table, &self.config, &self.sets);
            self.update(changes, batch).map_err(failed)?;
        }
        if let Err(error) = forget_stale(&mut self.socket, &self.config, &self.state, changes, whole) {
            // The Services are right all the same.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "flows to endpoints that are gone go on for a while"
            );
        }
        Ok(())
    }

    /// Puts the whole state in the place of what is there.
    ///
    /// The kernel switches sets and rules at once, but a packet in the midst of the old rules would find the old sets
    /// empty and be refused. So packets are led around: a stand-in takes them before the table does, then the table is
    /// replaced, and then the stand-in loses its hooks before it loses its sets.
    fn replace(&mut self, changes: &Changes) -> Result<(), agent_nft::Error> {
        let (table, stand_in) = (self.config.table(), self.config.stand_in());
        let ruleset = self.anew()?;
        let whole = |state: &mut State, ruleset: &Ruleset, config: &Config, sets: &Sets| {
            let mut batch = Batch::replace(ruleset);
            state.write(changes, &mut batch, &ruleset.table, config, sets);
            batch
        };
        let main = whole(&mut self.state, &ruleset, &self.config, &self.sets);
        if self.socket.table_handle(&table)?.is_none() {
            self.socket.apply(main)?;
            return self.socket.apply(Batch::remove(&stand_in));
        }
        let mut first = Ruleset { table: stand_in.clone(), ..ruleset };
        let before = |chain: &&mut Chain| chain.hook.is_some_and(|hook| hook.point != HookPoint::Postrouting);
        let mut unhook = Batch::new();
        for chain in first.chains.iter_mut().filter(before) {
            chain.hook = chain.hook.map(|hook| Hook { priority: hook.priority - 1, ..hook });
            unhook.delete_chain(&stand_in, &chain.name);
        }
        let led_around = whole(&mut self.state, &first, &self.config, &self.sets);
        self.socket.apply(led_around)?;
        std::thread::sleep(PACKETS_LEAVE);
        self.socket.apply(main)?;
        self.socket.apply(unhook)?;
        std::thread::sleep(PACKETS_LEAVE);
        self.socket.apply(Batch::remove(&stand_in))
    }

    /// The table without its Services, with the clients that the one before remembers.
    fn anew(&mut self) -> Result<Ruleset, agent_nft::Error> {
        let table = self.config.table();
        let remembered = self.socket.elements(&table, &self.sets.affinity.name)?;
        let mut ruleset = render(&self.config, &self.sets);
        if !remembered.is_empty() {
            let endpoints = self.socket.elements(&table, &self.sets.endpoints.name)?;
            let kept = carry_over(&self.state, remembered, &endpoints);
            let affinity = ruleset.sets.iter_mut().find(|(set, _)| set.name == self.sets.affinity.name);
            affinity.expect("the table has all sets").1 = kept;
        }
        Ok(ruleset)
    }

    /// Clients may be forgotten by the kernel while we say where they belong: then it is said once more.
    fn update(&mut self, changes: &Changes, batch: Batch) -> Result<(), agent_nft::Error> {
        let table = self.config.table();
        for _ in 0..FOLLOW_TRIES_MAX {
            if changes.moved.is_empty() {
                break;
            }
            let mut batch = batch.clone();
            let remembered = self.socket.elements(&table, &self.sets.affinity.name)?;
            let (deleted, added) = follow(changes, remembered);
            batch.delete(&table, &self.sets.affinity, &deleted);
            batch.add(&table, &self.sets.affinity, &added);
            match self.socket.apply(batch) {
                Err(error) if error.is_absent() => {}
                result => return result,
            }
        }
        self.socket.apply(batch)
    }

    /// Whether the table is still the one that we made.
    pub fn is_intact(&mut self) -> bool {
        let found = self.socket.table_handle(&self.config.table());
        self.whole || found.is_ok_and(|found| found.is_some() && found == self.handle)
    }
}

impl Claims {
    /// Gives up what the Service had and no longer wants.
    fn release(&mut self, key: &ServiceKey, wanted: &[(Front, Plan)]) -> Vec<Front> {
        let Some(fronts) = self.fronts.remove(key) else { return Vec::new() };
        let (kept, released): (Vec<Front>, Vec<Front>) =
            fronts.into_iter().partition(|front| wanted.iter().any(|(wanted, _)| wanted == front));
        if !kept.is_empty() {
            self.fronts.insert(key.clone(), kept);
        }
        for front in &released {
            self.owners.remove(front);
        }
        released
    }

    /// Whether the Service has the front now.
    fn take(&mut self, key: &ServiceKey, front: Front) -> bool {
        match self.owners.get(&front) {
            Some(owner) if owner == key => true,
            Some(owner) => {
                tracing::warn!(
                    "{}/{} is not reached at {}:{}, which {}/{} has",
                    key.0,
                    key.1,
                    front.address,
                    front.port,
                    owner.0,
                    owner.1
                );
                self.waiting.entry(front).or_default().insert(key.clone());
                false
            }
            None => {
                self.owners.insert(front, key.clone());
                self.fronts.entry(key.clone()).or_default().push(front);
                true
            }
        }
    }
}
