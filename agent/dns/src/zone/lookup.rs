//! Names below the cluster's domain.
//!
//! ```text
//! SVC.NS.svc   HOST.SVC.NS.svc   _PORT._PROTO.SVC.NS.svc   A-B-C-D.NS.pod   dns-version   ns.dns
//! ```
//! What lies between them and the domain exists too, without records of its own.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use super::facts::{Endpoint, Kind, Port, ServiceFacts};
use super::{Entry, Found, SCHEMA_VERSION, TTL_SECONDS, Zone};
use crate::message::{Name, Record, kind};

/// Addresses in one answer: more do not fit the largest message.
const ADDRESSES_MAX: usize = 3000;
/// Endpoints in one SRV answer; each brings its name and an address.
const TARGETS_MAX: usize = 700;

pub(super) struct Lookup<'a> {
    pub zone: &'a Zone,
    pub name: &'a Name,
    pub kind: u16,
    pub turn: usize,
}

/// A name of a port and a protocol, as SRV names have them.
type Wanted<'a> = Option<(&'a str, &'a str)>;

impl Lookup<'_> {
    pub fn find(&self, labels: &[String]) -> Found {
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        match labels.as_slice() {
            [] => self.apex(),
            ["dns-version"] => self.of_type(kind::TXT, || Record::text(self.name, TTL_SECONDS, SCHEMA_VERSION)),
            ["dns"] | ["svc"] | ["pod"] => self.zone.empty(),
            ["ns", "dns"] => match self.zone.server {
                Some(address) => self.of_type(kind::A, || Record::address(self.name, TTL_SECONDS, address)),
                None => self.zone.empty(),
            },
            [namespace, "svc" | "pod"] if self.has_namespace(namespace) => self.zone.empty(),
            [pod, namespace, "pod"] if self.has_namespace(namespace) => self.pod(pod),
            [service, namespace, "svc"] => self.service(namespace, service),
            [host, service, namespace, "svc"] => self.host(namespace, service, host),
            [port, protocol, service, namespace, "svc"] => self.port(namespace, service, port, protocol),
            _ => self.zone.nothing(),
        }
    }

    fn apex(&self) -> Found {
        match self.kind {
            kind::SOA => records(vec![self.zone.authority(self.name)]),
            kind::NS => match self.zone.below(&["ns", "dns"]) {
                Some(server) => records(vec![Record::pointer(self.name, kind::NS, TTL_SECONDS, server)]),
                None => self.zone.empty(),
            },
            _ => self.zone.empty(),
        }
    }

    fn of_type(&self, kind: u16, record: impl FnOnce() -> Record) -> Found {
        if self.asks(kind) { records(vec![record()]) } else { self.zone.empty() }
    }

    fn asks(&self, kind: u16) -> bool {
        self.kind == kind || self.kind == kind::ANY
    }

    fn has_namespace(&self, namespace: &str) -> bool {
        self.zone.namespaces.contains(namespace) || self.zone.services.contains_key(namespace)
    }

    /// Any address of four numbers has such a name, whether there is a pod or not.
    fn pod(&self, pod: &str) -> Found {
        match pod.replace('-', ".").parse::<Ipv4Addr>() {
            Ok(address) => self.of_type(kind::A, || Record::address(self.name, TTL_SECONDS, address)),
            Err(_) => self.zone.nothing(),
        }
    }

    fn known(&self, namespace: &str, service: &str) -> Option<(&ServiceFacts, &Entry)> {
        let entry = self.zone.services.get(namespace)?.get(service)?;
        Some((entry.service.as_ref()?, entry))
    }

    fn service(&self, namespace: &str, service: &str) -> Found {
        let Some((facts, entry)) = self.known(namespace, service) else { return self.zone.nothing() };
        match &facts.kind {
            Kind::Alias(target) => {
                Found::Alias(Record::pointer(self.name, kind::CNAME, TTL_SECONDS, target.clone()), target.clone())
            }
            Kind::Address(_) | Kind::Headless if self.kind == kind::SRV => {
                self.targets((facts, entry), &[service, namespace, "svc"], None)
            }
            Kind::Address(Some(address)) => self.of_type(kind::A, || Record::address(self.name, TTL_SECONDS, *address)),
            Kind::Address(None) => self.zone.empty(),
            Kind::Headless => self.addresses(entry.slices.values().flatten()),
        }
    }

    fn host(&self, namespace: &str, service: &str, host: &str) -> Found {
        let Some((facts, entry)) = self.known(namespace, service) else { return self.zone.nothing() };
        if let Some(protocol) = host.strip_prefix('_') {
            let below = |port: &&Port| !port.name.is_empty() && port.protocol == protocol;
            return if ports(facts, entry).any(|port| below(&port)) { self.zone.empty() } else { self.zone.nothing() };
        }
        self.addresses(entry.slices.values().flatten().filter(|endpoint| endpoint.host == host))
    }

    fn port(&self, namespace: &str, service: &str, port: &str, protocol: &str) -> Found {
        let known = self.known(namespace, service).zip(port.strip_prefix('_')).zip(protocol.strip_prefix('_'));
        let Some(((known, port), protocol)) = known else { return self.zone.nothing() };
        let named = |one: &Port| !port.is_empty() && one.name == port && one.protocol == protocol;
        if matches!(known.0.kind, Kind::Alias(_)) || !ports(known.0, known.1).any(named) {
            return self.zone.nothing();
        }
        if !self.asks(kind::SRV) {
            return self.zone.empty();
        }
        self.targets(known, &[service, namespace, "svc"], Some((port, protocol)))
    }

    /// The addresses of `endpoints`, each once, beginning with another one each time.
    fn addresses<'a>(&self, endpoints: impl Iterator<Item = &'a Endpoint>) -> Found {
        let mut seen = HashSet::new();
        let mut all: Vec<Ipv4Addr> =
            endpoints.map(|endpoint| endpoint.address).filter(|address| seen.insert(*address)).collect();
        if all.is_empty() {
            return self.zone.nothing();
        }
        if !self.asks(kind::A) {
            return self.zone.empty();
        }
        let first = self.turn % all.len();
        all.rotate_left(first);
        all.truncate(ADDRESSES_MAX);
        records(all.into_iter().map(|address| Record::address(self.name, TTL_SECONDS, address)).collect())
    }

    /// SRV records of the ports `wanted`, of all without: one of the Service, or one of each endpoint of a headless one.
    fn targets(&self, (facts, entry): (&ServiceFacts, &Entry), labels: &[&str], wanted: Wanted<'_>) -> Found {
        let fits = |port: &&Port| wanted.is_none_or(|(name, protocol)| port.name == name && port.protocol == protocol);
        let mut found: Vec<(Name, Ipv4Addr, u16)> = Vec::new();
        match facts.kind {
            Kind::Alias(_) => {}
            Kind::Address(address) => {
                let own = self.zone.below(labels).zip(address);
                let ports = facts.ports.iter().filter(fits).map(|port| port.number);
                found.extend(
                    own.into_iter()
                        .flat_map(|(name, address)| ports.clone().map(move |number| (name.clone(), address, number))),
                );
            }
            Kind::Headless => {
                for endpoint in entry.slices.values().flatten().take(TARGETS_MAX) {
                    let full: Vec<&str> = [endpoint.host.as_str()].into_iter().chain(labels.iter().copied()).collect();
                    let Some(name) = self.zone.below(&full) else { continue };
                    let ports = endpoint.ports.iter().filter(fits);
                    found.extend(ports.map(|port| (name.clone(), endpoint.address, port.number)));
                }
            }
        }
        if found.is_empty() {
            return self.zone.nothing();
        }
        let weight = u16::try_from(100 / found.len()).unwrap_or(0).max(1);
        let mut seen = HashSet::new();
        let mut additionals = Vec::new();
        for (name, address, _) in &found {
            if seen.insert((name.clone(), *address)) {
                additionals.push(Record::address(name, TTL_SECONDS, *address));
            }
        }
        let one = |(name, _, number)| Record::service(self.name, TTL_SECONDS, weight, number, name);
        Found::Records { answers: found.into_iter().map(one).collect(), additionals }
    }
}

/// The ports that SRV names exist for: the Service's own, or those of a headless one's endpoints.
fn ports<'a>(facts: &'a ServiceFacts, entry: &'a Entry) -> impl Iterator<Item = &'a Port> {
    let headless = matches!(facts.kind, Kind::Headless);
    let own = facts.ports.iter().filter(move |_| !headless);
    own.chain(entry.slices.values().flatten().filter(move |_| headless).flat_map(|endpoint| endpoint.ports.iter()))
}

fn records(answers: Vec<Record>) -> Found {
    Found::Records { answers, additionals: Vec::new() }
}
