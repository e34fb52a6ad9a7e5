//! Addresses and node ports of Services: given out once each.
//!
//! What is taken is what the store's Services hold, and what writes under way are about to hold: a claim is reserved
//! before its write and let go after the write was answered, when the store's memory shows it (or never will). So two
//! Services never get the same one, however many are created at once, and nothing is written beside the Services.

mod book;
mod ports;

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use control_api::resource::SERVICES;
pub use control_api::service::ServiceRange;
use control_api::service::{self, Claims};
use control_api::{FieldError, Status};
use control_store::{Key, Store};
use serde_json::{Value, json};

use crate::clock;
use book::Book;

/// Where Services get what they are given.
#[derive(Debug, Clone)]
pub struct Ranges {
    pub services: ServiceRange,
    pub node_ports: RangeInclusive<u16>,
}

impl Default for Ranges {
    fn default() -> Self {
        Self { services: ServiceRange::DEFAULT, node_ports: 30000..=32767 }
    }
}

/// The one place that gives out addresses and ports.
pub struct Allocator {
    pub ranges: Ranges,
    book: Arc<Mutex<Book>>,
}

/// Claims that a write is about to make. Hold it until the write was answered.
#[must_use]
pub struct Reservation {
    book: Arc<Mutex<Book>>,
    number: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        lock(&self.book).release(self.number);
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One Service on its way into the store.
struct Asking<'a> {
    ranges: &'a Ranges,
    /// What the version before holds: this Service's own.
    before: Claims,
    /// What others hold.
    taken: Claims,
}

impl Allocator {
    pub fn new(ranges: Ranges) -> Self {
        Self { ranges, book: Arc::default() }
    }

    /// Gives `service` what it needs and does not have, and takes what it asks for by name. Nothing is reserved under
    /// dry run, or where the Service holds all of it already.
    pub fn allocate(
        &self,
        store: &dyn Store,
        key: &Key,
        service: &mut Value,
        old: Option<&Value>,
        dry_run: bool,
    ) -> Result<Option<Reservation>, Status> {
        let before = old.map(Claims::of).unwrap_or_default();
        if !service::lacks(service) && Claims::of(service).is_within(&before) {
            return Ok(None);
        }
        let mut book = lock(&self.book);
        let taken = book.taken_by_others(store, key, &self.ranges.services);
        let asking = Asking { ranges: &self.ranges, before, taken };
        let refuse = |wrong: Vec<FieldError>| Status::invalid(&SERVICES, &key.name, wrong);
        asking.address(service, &refuse)?;
        ports::allocate(&asking, service, &refuse)?;
        let claims = Claims::of(service);
        let new = Claims {
            addresses: &claims.addresses - &asking.before.addresses,
            ports: &claims.ports - &asking.before.ports,
        };
        if dry_run || new == Claims::default() {
            return Ok(None);
        }
        let number = book.reserve(key.clone(), new);
        Ok(Some(Reservation { book: self.book.clone(), number }))
    }
}

impl Asking<'_> {
    fn address(&self, service: &mut Value, refuse: &dyn Fn(Vec<FieldError>) -> Status) -> Result<(), Status> {
        if !service::needs_cluster_ip(service) || service::is_headless(service) {
            return Ok(());
        }
        let wanted = service["spec"]["clusterIP"].as_str().unwrap_or_default();
        let address = match wanted.parse::<Ipv4Addr>() {
            Ok(wanted) => {
                self.wanted(wanted).map_err(|why| {
                    let why = format!("failed to allocate IP {wanted}: {why}");
                    refuse(vec![FieldError::invalid("spec.clusterIPs", &service["spec"]["clusterIPs"], why)])
                })?;
                wanted
            }
            Err(_) => {
                let mut candidates = self.ranges.services.candidates(clock::spread(u64::from(u32::MAX)));
                let free = candidates.find(|candidate| !self.taken.addresses.contains(candidate));
                free.ok_or_else(|| Status::internal("failed to allocate a serviceIP: range is full"))?
            }
        };
        service["spec"]["clusterIP"] = json!(address);
        service["spec"]["clusterIPs"] = json!([address]);
        Ok(())
    }

    fn wanted(&self, address: Ipv4Addr) -> Result<(), String> {
        let range = &self.ranges.services;
        if self.before.addresses.contains(&address) {
            Ok(())
        } else if !range.holds(address) {
            Err(format!("the provided IP ({address}) is not in the valid range. The range of valid IPs is {range}"))
        } else if self.taken.addresses.contains(&address) {
            Err("provided IP is already allocated".to_owned())
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
