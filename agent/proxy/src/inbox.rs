//! What the cluster says: Services and their EndpointSlices, and which of them have changed.

use std::collections::{BTreeSet, HashMap};

use crate::{
    endpoints::{Slice, local_ready_count},
    front::{Front, Plan, fronts},
    service::{Service, ServiceKey},
};

#[derive(Default)]
pub(crate) struct Inbox {
    services: HashMap<ServiceKey, Service>,
    slices: HashMap<ServiceKey, Slice>,
    /// The names of each Service's slices, which are in its namespace.
    slice_names: HashMap<ServiceKey, BTreeSet<String>>,
    dirty: BTreeSet<ServiceKey>,
    /// Counts the changes.
    pub generation: u64,
    /// Nothing is applied until this ends.
    pub held: bool,
}

impl Inbox {
    pub fn held() -> Self {
        Self { held: true, ..Self::default() }
    }

    /// Answers whether anything has changed.
    pub fn set_service(&mut self, key: ServiceKey, service: Option<Service>) -> bool {
        if self.services.get(&key) == service.as_ref() {
            return false;
        }
        match service {
            Some(service) => self.services.insert(key.clone(), service),
            None => self.services.remove(&key),
        };
        self.mark(key);
        true
    }

    pub fn set_slice(&mut self, key: ServiceKey, slice: Option<Slice>) -> bool {
        let old = self.slices.get(&key);
        if old == slice.as_ref() {
            return false;
        }
        if let Some(owner) = old.map(|old| old.service.clone()) {
            if let Some(names) = self.slice_names.get_mut(&owner) {
                names.remove(&key.1);
                if names.is_empty() {
                    self.slice_names.remove(&owner);
                }
            }
            self.mark(owner);
        }
        match slice {
            Some(slice) => {
                let owner = slice.service.clone();
                self.slice_names.entry(owner.clone()).or_default().insert(key.1.clone());
                self.mark(owner);
                self.slices.insert(key, slice);
            }
            None => drop(self.slices.remove(&key)),
        }
        true
    }

    fn mark(&mut self, key: ServiceKey) {
        self.dirty.insert(key);
        self.generation += 1;
    }

    pub fn take_dirty(&mut self) -> BTreeSet<ServiceKey> {
        std::mem::take(&mut self.dirty)
    }

    pub fn services(&self) -> impl Iterator<Item = &ServiceKey> {
        self.services.keys()
    }

    pub fn fronts(&self, key: &ServiceKey) -> Vec<(Front, Plan)> {
        let service = self.services.get(key);
        service.map(|service| fronts(service, self.slices_of(key))).unwrap_or_default()
    }

    /// The port where the Service's health is asked for, and how many endpoints are here.
    pub fn health(&self, key: &ServiceKey) -> Option<(u16, usize)> {
        let service = self.services.get(key)?;
        Some((service.health_port?, local_ready_count(self.slices_of(key))))
    }

    fn slices_of(&self, key: &ServiceKey) -> impl Iterator<Item = &Slice> + Clone {
        let names = self.slice_names.get(key).into_iter().flatten();
        let namespace = key.0.clone();
        names.filter_map(move |name| self.slices.get(&(namespace.clone(), name.clone())))
    }
}
