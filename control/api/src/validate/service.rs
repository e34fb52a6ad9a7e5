//! Services.

mod addresses;
mod ports;

use serde_json::{Value, json};

use crate::field::FieldError;
use crate::ip::Cidr;
use crate::name;
use crate::object::{get, integer, list, map, text};
use crate::service::{externally_accessible, is_headless, needs_cluster_ip, needs_health_check_port};

use super::check::{Errors, one_of, rule};
use super::meta;

pub(super) use ports::number_or_name;

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const POLICIES: [&str; 2] = ["Cluster", "Local"];
const AFFINITIES: [&str; 2] = ["ClientIP", "None"];
const DISTRIBUTIONS: [&str; 3] = ["PreferClose", "PreferSameNode", "PreferSameZone"];
const AFFINITY_SECONDS_MAX: i64 = 86400;
const BALANCER_ONLY: &str = "may only be used when `type` is 'LoadBalancer'";
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

pub(super) fn create(object: &Value, wrong: &mut Errors) {
    let Some(spec) = get(object, "/spec") else { return wrong.push(FieldError::required("spec", "")) };
    ports::ports(object, wrong);
    by_type(object, spec, wrong);
    meta::labels(spec.get("selector"), "spec.selector", wrong);
    affinity(spec, wrong);
    addresses::addresses(object, wrong);
    addresses::external(spec, wrong);
    one_of(spec, "spec", "type", &TYPES, wrong);
    source_ranges(object, spec, wrong);
    balancer(spec, wrong);
    policies(object, spec, wrong);
}

pub(super) fn update(new: &Value, old: &Value, wrong: &mut Errors) {
    addresses::update(new, old, wrong);
    let balances = |service: &Value| text(service, "/spec/type") == "LoadBalancer";
    let class = |service| get(service, "/spec/loadBalancerClass");
    if balances(old) && balances(new) && class(old) != class(new) {
        let value = class(new).unwrap_or(&Value::Null);
        wrong.push(FieldError::invalid("spec.loadBalancerClass", value, "may not change once set"));
    }
    let port = |service| integer(service, "/spec/healthCheckNodePort").unwrap_or(0);
    if needs_health_check_port(old) && needs_health_check_port(new) && port(old) != port(new) {
        wrong.push(FieldError::forbidden("spec.healthCheckNodePort", "field is immutable"));
    }
}

pub(super) fn status(object: &Value, wrong: &mut Errors) {
    const PATH: &str = "status.loadBalancer.ingress";
    let ingress = list(object, "/status/loadBalancer/ingress");
    if !ingress.is_empty() && text(object, "/spec/type") != "LoadBalancer" {
        wrong.push(FieldError::forbidden(PATH, "may only be used when `spec.type` is \"LoadBalancer\""));
    }
    for (at, ingress) in ingress.iter().enumerate() {
        let path = format!("{PATH}[{at}]");
        let (address, host) = (text(ingress, "/ip"), text(ingress, "/hostname"));
        if !address.is_empty() {
            addresses::address(&format!("{path}.ip"), address, wrong);
        } else if get(ingress, "/ipMode").is_some() {
            wrong.push(FieldError::forbidden(format!("{path}.ipMode"), "may not be specified when `ip` is not set"));
        }
        one_of(ingress, &path, "ipMode", &["Proxy", "VIP"], wrong);
        if !host.is_empty() {
            rule(&format!("{path}.hostname"), host, name::dns_subdomain, wrong);
            if crate::ip::parse(host).is_some() {
                let why = "must be a DNS name, not an IP address";
                wrong.push(FieldError::invalid(format!("{path}.hostname"), &json!(host), why));
            }
        }
    }
}

fn by_type(object: &Value, spec: &Value, wrong: &mut Errors) {
    let kind = text(spec, "/type");
    match kind {
        "LoadBalancer" | "NodePort" if is_headless(object) => {
            let why = format!("may not be set to 'None' for {kind} services");
            wrong.push(FieldError::invalid("spec.clusterIPs[0]", &json!("None"), why));
        }
        "ExternalName" => {
            for key in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                let set = get(spec, &format!("/{key}")).is_some_and(|value| value != &json!([]));
                if set || (key == "clusterIPs" && !text(spec, "/clusterIP").is_empty()) {
                    let why = "may not be set for ExternalName services";
                    wrong.push(FieldError::forbidden(format!("spec.{key}"), why));
                }
            }
            let target = text(spec, "/externalName");
            match target.strip_suffix('.').unwrap_or(target) {
                "" => wrong.push(FieldError::required("spec.externalName", "")),
                target => rule("spec.externalName", target, name::dns_subdomain, wrong),
            }
        }
        _ => {}
    }
}

fn affinity(spec: &Value, wrong: &mut Errors) {
    one_of(spec, "spec", "sessionAffinity", &AFFINITIES, wrong);
    let config = get(spec, "/sessionAffinityConfig");
    match (text(spec, "/sessionAffinity"), config) {
        ("ClientIP", _) => {
            let field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
            let seconds = integer(spec, "/sessionAffinityConfig/clientIP/timeoutSeconds").unwrap_or(0);
            if !(1..=AFFINITY_SECONDS_MAX).contains(&seconds) {
                let why = format!("must be greater than 0 and less than {AFFINITY_SECONDS_MAX}");
                wrong.push(FieldError::invalid(field, &json!(seconds), why));
            }
        }
        ("None", Some(_)) => {
            let why = "must not be set when session affinity is None";
            wrong.push(FieldError::forbidden("spec.sessionAffinityConfig", why));
        }
        _ => {}
    }
}

fn source_ranges(object: &Value, spec: &Value, wrong: &mut Errors) {
    let ranges = list(spec, "/loadBalancerSourceRanges");
    let annotation = map(object, "/metadata/annotations").and_then(|annotations| annotations.get(SOURCE_RANGES));
    let balances = text(spec, "/type") == "LoadBalancer";
    // Kubernetes writes this one path with a capital letter.
    let path = "spec.LoadBalancerSourceRanges";
    if !ranges.is_empty() {
        if !balances {
            wrong.push(FieldError::forbidden(path, BALANCER_ONLY));
        }
        for (at, range) in ranges.iter().enumerate() {
            cidr(&format!("{path}[{at}]"), range.as_str().unwrap_or("").trim(), wrong);
        }
    } else if let Some(text) = annotation.and_then(Value::as_str) {
        let path = format!("metadata.annotations[{SOURCE_RANGES}]");
        if !balances {
            wrong.push(FieldError::forbidden(&path, BALANCER_ONLY));
        }
        for range in text.split(',').map(str::trim).filter(|_| !text.trim().is_empty()) {
            cidr(&path, range, wrong);
        }
    }
}

/// A range in CIDR notation.
pub(super) fn cidr(field: &str, text: &str, wrong: &mut Errors) {
    if Cidr::parse(text).is_none() {
        let why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        wrong.push(FieldError::invalid(field, &json!(text), why));
    }
}

fn balancer(spec: &Value, wrong: &mut Errors) {
    if text(spec, "/type") == "LoadBalancer" {
        if let Some(class) = get(spec, "/loadBalancerClass").and_then(Value::as_str) {
            rule("spec.loadBalancerClass", class, name::qualified, wrong);
        }
        return;
    }
    for key in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
        if get(spec, &format!("/{key}")).is_some() {
            wrong.push(FieldError::forbidden(format!("spec.{key}"), BALANCER_ONLY));
        }
    }
}

fn policies(object: &Value, spec: &Value, wrong: &mut Errors) {
    let external = text(spec, "/externalTrafficPolicy");
    if externally_accessible(object) {
        one_of(spec, "spec", "externalTrafficPolicy", &POLICIES, wrong);
    } else if !external.is_empty() {
        let why = "may only be set for externally-accessible services";
        wrong.push(FieldError::invalid("spec.externalTrafficPolicy", &json!(external), why));
    }
    let port = integer(spec, "/healthCheckNodePort").unwrap_or(0);
    if port != 0 && !needs_health_check_port(object) {
        let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        wrong.push(FieldError::invalid("spec.healthCheckNodePort", &json!(port), why));
    } else if port != 0 {
        super::check::between(spec, "spec", "healthCheckNodePort", 1, super::port::PORT_MAX, wrong);
    }
    if needs_cluster_ip(object) {
        one_of(spec, "spec", "internalTrafficPolicy", &POLICIES, wrong);
    }
    one_of(spec, "spec", "trafficDistribution", &DISTRIBUTIONS, wrong);
}
