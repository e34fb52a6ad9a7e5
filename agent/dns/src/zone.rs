//! What the cluster's names mean: Services, endpoints of headless ones, pods by their addresses, and the way back.
//!
//! [`facts`] what is kept of a Service and of a slice, [`lookup`] names forwards, [`reverse`] addresses backwards.
//! Changes are applied at once, in time that depends on the changed object only.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::Ipv4Addr;

use control_api::view::core::Service;
use control_api::view::discovery::EndpointSlice;

use control_api::Ipv4Range;

use crate::config::{Config, Error};
use crate::message::{Name, Record};

mod facts;
mod lookup;
mod reverse;

use facts::{Endpoint, Kind, ServiceFacts};

/// As CoreDNS has it by default: a name's meaning may change at any moment.
pub const TTL_SECONDS: u32 = 5;
/// The version of the specification, which `dns-version` tells.
const SCHEMA_VERSION: &str = "1.1.0";

/// What a name is found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Not ours: an upstream knows.
    Elsewhere,
    /// Nothing of that name: NXDOMAIN, with this SOA.
    Nothing(Record),
    /// It exists, but not with records of that type: NODATA, with this SOA.
    Empty(Record),
    Records {
        answers: Vec<Record>,
        additionals: Vec<Record>,
    },
    /// Another name stands for it: the CNAME, and where it leads.
    Alias(Record, Name),
}

/// Bounded by the cluster's Services and endpoints.
#[derive(Debug)]
pub struct Zone {
    domain: Vec<String>,
    apex: Name,
    ranges: [Ipv4Range; 2],
    /// The DNS' own address, as `ns.dns` tells it.
    server: Option<Ipv4Addr>,
    services: HashMap<String, HashMap<String, Entry>>,
    namespaces: HashSet<String>,
    /// The Service of each slice, by namespace and name.
    slices: HashMap<(String, String), String>,
    /// Who has an address.
    reverse: HashMap<Ipv4Addr, BTreeSet<Owner>>,
    serial: u32,
}

/// A Service and its slices; either may come first.
#[derive(Debug, Default)]
struct Entry {
    service: Option<ServiceFacts>,
    slices: BTreeMap<String, Vec<Endpoint>>,
}

/// The name that an address has; without a host it is the Service's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Owner {
    namespace: String,
    service: String,
    host: Option<String>,
}

impl Zone {
    pub fn new(config: &Config) -> Result<Self, Error> {
        let apex = Name::parse(&config.domain).ok_or_else(|| Error::Domain { domain: config.domain.clone() })?;
        let server = config.listen.iter().find_map(|address| match address.ip() {
            std::net::IpAddr::V4(address) if !address.is_unspecified() => Some(address),
            _ => None,
        });
        Ok(Self {
            domain: apex.lower(),
            apex,
            ranges: [config.service_range, config.pod_range],
            server,
            services: HashMap::new(),
            namespaces: HashSet::new(),
            slices: HashMap::new(),
            reverse: HashMap::new(),
            serial: 1,
        })
    }

    /// What `name` is, for a query of type `kind`; `turn` decides which of several addresses comes first.
    pub fn find(&self, name: &Name, kind: u16, turn: usize) -> Found {
        let labels = name.lower();
        if let Some(rest) = labels.strip_suffix(self.domain.as_slice()) {
            return lookup::Lookup { zone: self, name, kind, turn }.find(rest);
        }
        match labels.strip_suffix(["in-addr".to_owned(), "arpa".to_owned()].as_slice()) {
            Some(rest) => self.find_reverse(name, kind, rest),
            None => Found::Elsewhere,
        }
    }

    pub fn put_namespace(&mut self, name: &str) {
        self.namespaces.insert(name.to_owned());
        self.changed();
    }

    pub fn remove_namespace(&mut self, name: &str) {
        self.namespaces.remove(name);
        self.changed();
    }

    pub fn put_service(&mut self, service: &Service) {
        let (Some(namespace), Some(name)) = (&service.metadata.namespace, &service.metadata.name) else { return };
        self.remove_service(namespace, name);
        let facts = ServiceFacts::of(service);
        if let Kind::Address(Some(address)) = facts.kind {
            self.own(address, Owner { namespace: namespace.clone(), service: name.clone(), host: None });
        }
        self.entry(namespace, name).service = Some(facts);
        self.changed();
    }

    pub fn remove_service(&mut self, namespace: &str, name: &str) {
        let Some(facts) = self.entry(namespace, name).service.take() else {
            return self.tidy(namespace, name);
        };
        if let Kind::Address(Some(address)) = facts.kind {
            let owner = Owner { namespace: namespace.to_owned(), service: name.to_owned(), host: None };
            self.disown(address, &owner);
        }
        self.tidy(namespace, name);
        self.changed();
    }

    pub fn put_slice(&mut self, slice: &EndpointSlice) {
        let (Some(namespace), Some(name)) = (&slice.metadata.namespace, &slice.metadata.name) else { return };
        self.remove_slice(namespace, name);
        let Some(service) = facts::service_of(slice) else { return };
        let endpoints = facts::endpoints(slice);
        for endpoint in &endpoints {
            self.own(endpoint.address, owner(namespace, service, endpoint));
        }
        self.slices.insert((namespace.clone(), name.clone()), service.to_owned());
        self.entry(namespace, service).slices.insert(name.clone(), endpoints);
        self.changed();
    }

    pub fn remove_slice(&mut self, namespace: &str, name: &str) {
        let Some(service) = self.slices.remove(&(namespace.to_owned(), name.to_owned())) else { return };
        let entry = self.entry(namespace, &service);
        let gone = entry.slices.remove(name).unwrap_or_default();
        // An endpoint may stand in two slices of one Service, with different ports.
        let kept: BTreeSet<(Ipv4Addr, String)> =
            entry.slices.values().flatten().map(|one| (one.address, one.host.clone())).collect();
        for endpoint in gone {
            if !kept.contains(&(endpoint.address, endpoint.host.clone())) {
                self.disown(endpoint.address, &owner(namespace, &service, &endpoint));
            }
        }
        self.tidy(namespace, &service);
        self.changed();
    }

    fn changed(&mut self) {
        self.serial = self.serial.wrapping_add(1);
    }

    fn entry(&mut self, namespace: &str, service: &str) -> &mut Entry {
        if !self.services.contains_key(namespace) {
            self.services.insert(namespace.to_owned(), HashMap::new());
        }
        let services = self.services.get_mut(namespace).expect("it was inserted above");
        if !services.contains_key(service) {
            services.insert(service.to_owned(), Entry::default());
        }
        services.get_mut(service).expect("it was inserted above")
    }

    /// Leaves nothing behind of what is gone.
    fn tidy(&mut self, namespace: &str, service: &str) {
        let Some(services) = self.services.get_mut(namespace) else { return };
        if services.get(service).is_some_and(|entry| entry.service.is_none() && entry.slices.is_empty()) {
            services.remove(service);
        }
        if services.is_empty() {
            self.services.remove(namespace);
        }
    }

    fn own(&mut self, address: Ipv4Addr, owner: Owner) {
        self.reverse.entry(address).or_default().insert(owner);
    }

    fn disown(&mut self, address: Ipv4Addr, owner: &Owner) {
        if let Some(owners) = self.reverse.get_mut(&address) {
            owners.remove(owner);
            if owners.is_empty() {
                self.reverse.remove(&address);
            }
        }
    }

    /// A name below the domain.
    fn below(&self, labels: &[&str]) -> Option<Name> {
        let domain = self.domain.iter().map(String::as_str);
        Name::from_labels(labels.iter().copied().chain(domain).map(str::as_bytes))
    }

    /// The SOA of `zone`.
    fn authority(&self, zone: &Name) -> Record {
        let server = self.below(&["ns", "dns"]).unwrap_or_else(Name::root);
        let mailbox = self.below(&["hostmaster"]).unwrap_or_else(Name::root);
        Record::authority(zone, TTL_SECONDS, server, mailbox, self.serial)
    }

    fn nothing(&self) -> Found {
        Found::Nothing(self.authority(&self.apex))
    }

    fn empty(&self) -> Found {
        Found::Empty(self.authority(&self.apex))
    }
}

fn owner(namespace: &str, service: &str, endpoint: &Endpoint) -> Owner {
    Owner { namespace: namespace.to_owned(), service: service.to_owned(), host: Some(endpoint.host.clone()) }
}
