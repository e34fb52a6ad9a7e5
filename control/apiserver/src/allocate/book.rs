//! Who holds what.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

use control_api::resource::SERVICES;
use control_api::service::{Claims, ServiceRange};
use control_store::{Key, Page, Store};

use crate::bootstrap::services::{API_SERVICE, DNS_SERVICE};
use crate::negotiate::parse;

/// What the store's Services held when it was last looked at, and what writes under way reserved.
#[derive(Debug, Default)]
pub struct Book {
    /// With the revision it was read at, so that only what changed is parsed again.
    held: HashMap<Key, (u64, Claims)>,
    reserved: BTreeMap<u64, (Key, Claims)>,
    next: u64,
}

impl Book {
    /// Everything that the Service `key` cannot have. A key is one Service at most, so what its own other writes
    /// reserve is no obstacle: one of them wins.
    pub fn taken_by_others(&mut self, store: &dyn Store, key: &Key, range: &ServiceRange) -> Claims {
        self.refresh(store);
        let held = self.held.iter().map(|(owner, (_, claims))| (owner, claims));
        let reserved = self.reserved.values().map(|(owner, claims)| (owner, claims));
        let mut taken = Claims::default();
        for (_, claims) in held.chain(reserved).filter(|(owner, _)| *owner != key) {
            taken.addresses.extend(&claims.addresses);
            taken.ports.extend(&claims.ports);
        }
        let kept: [(_, Ipv4Addr); 2] = [(API_SERVICE, range.api_address()), (DNS_SERVICE, range.dns_address())];
        for ((namespace, name), address) in kept {
            if (&*key.namespace, &*key.name) != (namespace, name) {
                taken.addresses.insert(address);
            }
        }
        taken
    }

    fn refresh(&mut self, store: &dyn Store) {
        let listing = store.list(&SERVICES, None, &Page::default());
        let mut fresh = HashMap::with_capacity(listing.items.len());
        for object in listing.items {
            let known = self.held.remove(&object.key).filter(|(revision, _)| *revision == object.revision);
            // What cannot be parsed was never a valid Service, and holds nothing.
            let claims =
                known.map(|(_, claims)| claims).or_else(|| parse(&object).ok().map(|value| Claims::of(&value)));
            fresh.insert(object.key.clone(), (object.revision, claims.unwrap_or_default()));
        }
        self.held = fresh;
    }

    pub fn reserve(&mut self, key: Key, claims: Claims) -> u64 {
        self.next += 1;
        self.reserved.insert(self.next, (key, claims));
        self.next
    }

    pub fn release(&mut self, number: u64) {
        self.reserved.remove(&number);
    }
}
