//! What is counted, and `/metrics`.

use std::sync::atomic::AtomicI64;
use std::time::Duration;

use http::{Response, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::api::Api;
use crate::respond::{self, Body};
use crate::route::{Route, Target};

/// Words that come from the table of resources and verbs, never from a client: their number is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Label {
    pub verb: &'static str,
    pub resource: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    verb: &'static str,
    resource: &'static str,
    code: u32,
}

type Level = Gauge<i64, AtomicI64>;

const BUCKETS_S: [f64; 8] = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0];

pub struct Metrics {
    registry: Registry,
    requests: Family<CodeLabel, Counter>,
    duration: Family<Label, Histogram, fn() -> Histogram>,
    in_flight: Level,
    watches: Level,
    revision: Level,
    resident: Level,
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS_S)
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        let duration = Family::new_with_constructor(histogram as fn() -> Histogram);
        let (in_flight, watches, revision, resident) =
            (Level::default(), Level::default(), Level::default(), Level::default());
        registry.register("apiserver_request", "Requests by verb, resource and code", requests.clone());
        registry.register(
            "apiserver_request_duration_seconds",
            "Time to the answer's head, without watches and streams",
            duration.clone(),
        );
        registry.register("apiserver_current_inflight_requests", "Requests being answered", in_flight.clone());
        registry.register("apiserver_longrunning_requests", "Open watches and streams", watches.clone());
        registry.register("bramble_store_revision", "The newest revision", revision.clone());
        registry.register("process_resident_memory_bytes", "Resident memory", resident.clone());
        Self { registry, requests, duration, in_flight, watches, revision, resident }
    }
}

/// Counts one thing for as long as it lives.
pub struct Held(Level);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn hold(level: &Level) -> Held {
    level.inc();
    Held(level.clone())
}

impl Metrics {
    pub fn label(&self, route: &Route) -> Label {
        let resource = match &route.target {
            Target::Resource(at) => at.resource.plural,
            _ => "",
        };
        Label { verb: route.verb, resource }
    }

    pub fn enter(&self) -> Held {
        hold(&self.in_flight)
    }

    pub fn watching(&self) -> Held {
        hold(&self.watches)
    }

    pub fn answered(&self, label: Label, code: StatusCode, took: Duration) {
        let Label { verb, resource } = label;
        self.requests.get_or_create(&CodeLabel { verb, resource, code: code.as_u16().into() }).inc();
        if verb != "watch" {
            self.duration.get_or_create(&label).observe(took.as_secs_f64());
        }
    }

    /// `/metrics`. Revision and memory are read when asked for.
    pub fn answer(&self, api: &Api) -> Response<Body> {
        self.revision.set(i64::try_from(api.store().revision()).unwrap_or(i64::MAX));
        self.resident.set(resident_bytes());
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            return respond::health(false, "metrics could not be written".to_owned());
        }
        respond::document("application/openmetrics-text; version=1.0.0; charset=utf-8", text)
    }
}

/// Resident bytes by `/proc/self/status`, or 0.
fn resident_bytes() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|word| word.parse::<i64>().ok());
    kib.unwrap_or(0) * 1024
}
