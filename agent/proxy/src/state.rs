//! What is in the kernel, and how little of it has to change. Pure.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::Ipv4Addr,
};

use agent_nft::{Batch, Element, Set, Value};

use control_api::Ipv4Range;

use crate::{
    config::Config,
    endpoints::Target,
    front::{Front, Plan},
    ruleset::Sets,
    service::Protocol,
    shape::{INSIDE, Route, Shape},
};

/// Chains that no front uses are kept, up to this many, since counts go up and down.
const UNUSED_CHAINS_MAX: usize = 64;

/// The Services' part of the table.
#[derive(Default)]
pub(crate) struct State {
    fronts: HashMap<Front, Plan>,
    /// How many fronts use the chain.
    chains: HashMap<Shape, usize>,
    /// How many targets on this node have the address.
    near: HashMap<Ipv4Addr, usize>,
}

/// One batch's changes, in the making.
#[derive(Default)]
pub(crate) struct Changes {
    services: Edit,
    endpoints: Edit,
    sources: Edit,
    chains: BTreeSet<Shape>,
    /// How many targets the addresses had before.
    near: BTreeMap<Ipv4Addr, usize>,
    /// Fronts whose connections without a handshake may lead where they no longer should.
    pub stale: HashSet<Front>,
    /// Where the targets of clients that are remembered went: old index -> new.
    pub moved: HashMap<Front, HashMap<u32, Option<u32>>>,
}

#[derive(Default)]
struct Edit {
    deleted: Vec<Element>,
    added: Vec<Element>,
}

impl Edit {
    fn swap(&mut self, old: Option<Element>, new: Option<Element>) {
        if old != new {
            self.deleted.extend(old);
            self.added.extend(new);
        }
    }

    fn write(&self, batch: &mut Batch, table: &str, set: &Set) {
        batch.delete(table, set, &self.deleted);
        batch.add(table, set, &self.added);
    }
}

impl State {
    /// Whether packets to the front may end there.
    pub fn leads_to(&self, front: &Front, (address, port): (Ipv4Addr, u16)) -> bool {
        let targets =
            self.fronts.get(front).into_iter().flat_map(|plan| plan.targets.iter().chain(plan.inside.iter().flatten()));
        targets.into_iter().any(|target| (target.address, target.port) == (address, port))
    }

    pub fn has(&self, front: &Front) -> bool {
        self.fronts.contains_key(front)
    }

    /// Where the front keeps the target, if it remembers clients: in the list that the index was of.
    pub fn index_of(&self, front: &Front, old_index: u32, (address, port): (Ipv4Addr, u16)) -> Option<u32> {
        let plan = self.fronts.get(front).filter(|plan| plan.sticky_seconds.is_some())?;
        let (targets, offset) = match old_index < INSIDE {
            true => (Some(&plan.targets), 0),
            false => (plan.inside.as_ref(), INSIDE),
        };
        let index = targets?.iter().position(|target| (target.address, target.port) == (address, port))?;
        Some(offset + number(index))
    }

    /// Sets or removes what becomes of a front; once for each front of a batch.
    pub fn change(&mut self, front: Front, plan: Option<Plan>, changes: &mut Changes) {
        let old = self.fronts.remove(&front);
        let plan = plan.map(|plan| settle(plan, old.as_ref()));
        if old == plan {
            self.fronts.extend(plan.map(|plan| (front, plan)));
            return;
        }
        let routes = [&old, &plan].map(|plan| plan.as_ref().map(|plan| Route::of(&front, plan)));
        self.count_chains(&routes, changes);
        self.count_near(old.as_ref(), plan.as_ref(), changes);
        let [was, is] = routes.map(|route| Some(Element::new(&front.values()).verdict(route?.verdict())));
        changes.services.swap(was, is);
        let nothing = Plan::default();
        let (was, is) = (old.as_ref().unwrap_or(&nothing), plan.as_ref().unwrap_or(&nothing));
        changes.targets(&front, &was.targets, &is.targets, 0);
        let inside = |plan: &Plan| plan.inside.clone().unwrap_or_default();
        changes.targets(&front, &inside(was), &inside(is), INSIDE);
        changes.sources(&front, &was.sources, &is.sources);
        if front.protocol == Protocol::Udp {
            changes.stale.insert(front);
        }
        if was.sticky_seconds.is_some() {
            let mut moved = moves(&was.targets, &is.targets, 0);
            moved.extend(moves(&inside(was), &inside(is), INSIDE));
            if !moved.is_empty() {
                changes.moved.insert(front, moved);
            }
        }
        self.fronts.extend(plan.map(|plan| (front, plan)));
    }

    /// Writes down the batch that makes the kernel's table this state.
    pub fn write(&mut self, changes: &Changes, batch: &mut Batch, table: &str, config: &Config, sets: &Sets) {
        for shape in &changes.chains {
            let chain = shape.chain(config);
            batch.chain(table, &chain);
            batch.rules(table, &chain);
        }
        changes.services.write(batch, table, &sets.services);
        changes.endpoints.write(batch, table, &sets.endpoints);
        changes.sources.write(batch, table, &sets.sources);
        self.hairpin(changes).write(batch, table, &sets.hairpin);
        let unused: Vec<Shape> =
            self.chains.iter().filter(|(_, uses)| **uses == 0).map(|(shape, _)| shape.clone()).collect();
        if unused.len() > UNUSED_CHAINS_MAX {
            for shape in unused {
                batch.delete_chain(table, &shape.name());
                self.chains.remove(&shape);
            }
        }
    }

    fn hairpin(&self, changes: &Changes) -> Edit {
        let mut edit = Edit::default();
        for (address, before) in &changes.near {
            let element =
                |count: usize| (count > 0).then(|| Element::new(&[Value::Address(*address), Value::Address(*address)]));
            edit.swap(element(*before), element(self.near.get(address).copied().unwrap_or(0)));
        }
        edit
    }

    fn count_chains(&mut self, [was, is]: &[Option<Route>; 2], changes: &mut Changes) {
        if let Some(shape) = is.as_ref().and_then(Route::shape) {
            let uses = self.chains.entry(shape.clone()).or_insert_with(|| {
                changes.chains.insert(shape.clone());
                0
            });
            *uses += 1;
        }
        if let Some(shape) = was.as_ref().and_then(Route::shape)
            && let Some(uses) = self.chains.get_mut(shape)
        {
            *uses -= 1;
        }
    }

    fn count_near(&mut self, was: Option<&Plan>, is: Option<&Plan>, changes: &mut Changes) {
        let addresses = |plan: &Plan| {
            let all: Vec<Target> = plan.targets.iter().chain(plan.inside.iter().flatten()).copied().collect();
            all.into_iter().filter(|target| target.near).map(|target| target.address)
        };
        for address in is.into_iter().flat_map(addresses) {
            let count = self.near.entry(address).or_insert(0);
            changes.near.entry(address).or_insert(*count);
            *count += 1;
        }
        for address in was.into_iter().flat_map(addresses) {
            let count = self.near.entry(address).or_insert(1);
            changes.near.entry(address).or_insert(*count);
            *count -= 1;
            if *count == 0 {
                self.near.remove(&address);
            }
        }
    }
}

impl Changes {
    fn targets(&mut self, front: &Front, was: &[Target], is: &[Target], offset: u32) {
        let element = |targets: &[Target], index: usize| {
            let target = targets.get(index)?;
            let [address, protocol, port] = front.values();
            let key = [address, protocol, port, Value::Mark(offset + number(index))];
            Some(Element::new(&key).value(&[Value::Address(target.address), Value::Port(target.port)]))
        };
        for index in 0..was.len().max(is.len()) {
            self.endpoints.swap(element(was, index), element(is, index));
        }
    }

    fn sources(&mut self, front: &Front, was: &[Ipv4Range], is: &[Ipv4Range]) {
        let element = |range: &Ipv4Range| {
            let [address, protocol, port] = front.values();
            let from = |client| [address, protocol, port, Value::Address(client)];
            Element::between(&from(range.base()), &from(range.last()))
        };
        self.sources.deleted.extend(was.iter().filter(|range| !is.contains(range)).map(element));
        self.sources.added.extend(is.iter().filter(|range| !was.contains(range)).map(element));
    }
}

/// The plan, with its targets in an order that changes as few indexes as can be.
fn settle(mut plan: Plan, old: Option<&Plan>) -> Plan {
    let Some(old) = old else { return plan };
    plan.targets = reorder(&old.targets, &plan.targets);
    if let Some(inside) = &mut plan.inside {
        *inside = reorder(old.inside.as_deref().unwrap_or_default(), inside);
    }
    plan
}

/// New targets take the places of those that are gone; what is still empty is filled from the end.
fn reorder(was: &[Target], wanted: &[Target]) -> Vec<Target> {
    let (had, want): (HashSet<&Target>, HashSet<&Target>) = (was.iter().collect(), wanted.iter().collect());
    let mut new = wanted.iter().filter(|target| !had.contains(target)).copied();
    let mut places: Vec<Target> = was.to_vec();
    let mut index = 0;
    while index < places.len() {
        if want.contains(&places[index]) {
            index += 1;
        } else if let Some(next) = new.next() {
            places[index] = next;
            index += 1;
        } else {
            places.swap_remove(index);
        }
    }
    places.extend(new);
    places
}

/// Where targets went that are not where they were.
fn moves(was: &[Target], is: &[Target], offset: u32) -> HashMap<u32, Option<u32>> {
    let places: HashMap<&Target, u32> = is.iter().zip(offset..).collect();
    let before = was.iter().zip(offset..);
    before.map(|(target, index)| (index, places.get(target).copied())).filter(|(old, new)| Some(*old) != *new).collect()
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("targets are limited")
}

#[cfg(test)]
mod tests;
