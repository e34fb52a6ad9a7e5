//! Node ports. A number belongs to one Service, whatever the protocol; within one Service, ports of the same number
//! (TCP and UDP 53, say) share a node port.

use std::collections::{BTreeMap, BTreeSet};

use control_api::{FieldError, Status, service};
use serde_json::{Value, json};

use super::Asking;
use crate::clock;

/// Ports at the range's start that are given out last, so that they are free for who asks for one by number.
const BAND_MIN: usize = 16;
const BAND_MAX: usize = 128;

type Refuse<'a> = &'a dyn Fn(Vec<FieldError>) -> Status;

pub fn allocate(asking: &Asking<'_>, service: &mut Value, refuse: Refuse<'_>) -> Result<(), Status> {
    if !service::needs_node_port(service) {
        return Ok(());
    }
    let gives = service::allocates_node_ports(service);
    let mut wrong = Vec::new();
    // Numbers that this Service has, and by which number of its own ports.
    let mut own: BTreeSet<u16> = BTreeSet::new();
    let mut shared: BTreeMap<i64, u16> = BTreeMap::new();
    let ports = service["spec"]["ports"].as_array().cloned().unwrap_or_default();
    for (at, port) in ports.iter().enumerate() {
        let Some(wanted) = port["nodePort"].as_i64().filter(|wanted| *wanted != 0) else { continue };
        match asking.port(wanted) {
            Ok(wanted) => {
                own.insert(wanted);
                shared.entry(port["port"].as_i64().unwrap_or(0)).or_insert(wanted);
            }
            Err(why) => wrong.push(FieldError::invalid(format!("spec.ports[{at}].nodePort"), &json!(wanted), why)),
        }
    }
    let checks = service::needs_health_check_port(service);
    let health = service["spec"]["healthCheckNodePort"].as_i64().filter(|port| *port != 0 && checks);
    if let Some(wanted) = health {
        match asking.port(wanted) {
            Ok(port) if own.insert(port) => {}
            Ok(_) => wrong.push(refused_check(wanted, ALLOCATED)),
            Err(why) => wrong.push(refused_check(wanted, &why)),
        }
    }
    if !wrong.is_empty() {
        return Err(refuse(wrong));
    }
    for port in service["spec"]["ports"].as_array_mut().into_iter().flatten().filter(|_| gives) {
        if port["nodePort"].as_i64().unwrap_or(0) != 0 {
            continue;
        }
        let number = port["port"].as_i64().unwrap_or(0);
        let given = match shared.get(&number) {
            Some(given) => *given,
            None => asking.free(&mut own)?,
        };
        shared.insert(number, given);
        port["nodePort"] = json!(given);
    }
    if checks && health.is_none() {
        service["spec"]["healthCheckNodePort"] = json!(asking.free(&mut own)?);
    }
    Ok(())
}

const ALLOCATED: &str = "provided port is already allocated";

fn refused_check(wanted: i64, why: &str) -> FieldError {
    let why = format!("failed to allocate requested HealthCheck NodePort {wanted}: {why}");
    FieldError::invalid("spec.healthCheckNodePort", &json!(wanted), why)
}

impl Asking<'_> {
    /// A port asked for by number.
    fn port(&self, wanted: i64) -> Result<u16, String> {
        let range = &self.ranges.node_ports;
        match u16::try_from(wanted) {
            Ok(port) if self.before.ports.contains(&port) => Ok(port),
            Ok(port) if !range.contains(&port) => Err(outside(range.start(), range.end())),
            Ok(port) if self.taken.ports.contains(&port) => Err(ALLOCATED.to_owned()),
            Ok(port) => Ok(port),
            Err(_) => Err(outside(range.start(), range.end())),
        }
    }

    /// A port that nobody has.
    fn free(&self, own: &mut BTreeSet<u16>) -> Result<u16, Status> {
        let range = self.ranges.node_ports.clone();
        let band = (range.len() / 32).clamp(BAND_MIN, BAND_MAX).min(range.len());
        let upper = range.len() - band;
        let start = usize::try_from(clock::spread(upper as u64)).unwrap_or(0);
        let offsets = (band + start..range.len()).chain(band..band + start).chain(0..band);
        let mut ports = offsets.filter_map(|offset| u16::try_from(offset).ok()?.checked_add(*range.start()));
        let free = ports.find(|port| !self.taken.ports.contains(port) && !own.contains(port));
        let free = free.ok_or_else(|| Status::internal("failed to allocate a nodePort: range is full"))?;
        own.insert(free);
        Ok(free)
    }
}

fn outside(first: &u16, last: &u16) -> String {
    format!("provided port is not in the valid range. The range of valid ports is {first}-{last}")
}
