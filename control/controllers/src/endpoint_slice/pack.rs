//! Spreads endpoints over slices with few writes: an endpoint stays where it is, new ones go into slices that are
//! written anyway, then into one that has room for all that are left, then into new slices.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use control_api::view::discovery::{Endpoint, EndpointPort, EndpointSlice};
use control_client::Object;

use super::maker::{Maker, delete};
use crate::action::Action;
use crate::error::Error;
use crate::world::view;

/// As in Kubernetes.
const ENDPOINTS_MAX: usize = 100;

/// Endpoints that can share slices; also a slice that is to be made.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub address_type: &'static str,
    pub ports: Vec<EndpointPort>,
    pub endpoints: Vec<Endpoint>,
}

impl Default for Group {
    /// With nothing in it, it stands for the one empty slice of an owner without endpoints.
    fn default() -> Self {
        Self { address_type: "IPv4", ports: Vec::new(), endpoints: Vec::new() }
    }
}

/// A slice that exists, as it is to be.
#[derive(Debug)]
pub(crate) struct Slice {
    pub object: Arc<Object>,
    pub annotations: BTreeMap<String, String>,
    pub address_type: String,
    pub ports: Vec<EndpointPort>,
    pub endpoints: Vec<Endpoint>,
    changed: bool,
}

/// What is to be done so that the slices hold exactly `groups`. Additions come before removals.
pub(crate) fn pack(maker: &Maker<'_>, existing: &[Arc<Object>], groups: Vec<Group>) -> Result<Vec<Action>, Error> {
    let mut slices = existing.iter().map(load).collect::<Result<Vec<Slice>, Error>>()?;
    let (mut kept, mut fresh) = (Vec::new(), Vec::new());
    for group in groups {
        let same = |slice: &mut Slice| slice.address_type == group.address_type && slice.ports == group.ports;
        let mut own: Vec<Slice> = slices.extract_if(.., same).collect();
        fill(&group, &mut own, &mut fresh);
        // A group without endpoints is there for its one empty slice.
        let spare = usize::from(group.endpoints.is_empty());
        let (full, empty): (Vec<Slice>, Vec<Slice>) = own.into_iter().partition(|slice| !slice.endpoints.is_empty());
        let mut empty = empty.into_iter();
        kept.extend(full);
        kept.extend(empty.by_ref().take(spare));
        slices.extend(empty);
        if spare == 1 && !kept.iter().any(|slice| slice.address_type == group.address_type) {
            fresh.push(group);
        }
    }
    let mut actions = Vec::new();
    for made in fresh {
        // A slice that is left over is changed rather than deleted beside a new one.
        match slices.iter().position(|slice| slice.address_type == made.address_type) {
            Some(at) => {
                let slice = slices.remove(at);
                kept.push(Slice { ports: made.ports, endpoints: made.endpoints, changed: true, ..slice });
            }
            None => actions.push(maker.create(&made)),
        }
    }
    let stale = kept.iter().filter(|slice| slice.changed || maker.is_stale(slice));
    actions.extend(stale.map(|slice| maker.update(slice)));
    actions.extend(slices.iter().map(|slice| delete(&slice.object.key)));
    Ok(actions)
}

fn load(object: &Arc<Object>) -> Result<Slice, Error> {
    let slice: EndpointSlice = view(object)?;
    Ok(Slice {
        object: object.clone(),
        annotations: slice.metadata.annotations.unwrap_or_default(),
        address_type: slice.address_type,
        ports: slice.ports.unwrap_or_default(),
        endpoints: slice.endpoints,
        changed: false,
    })
}

fn fill(group: &Group, slices: &mut [Slice], fresh: &mut Vec<Group>) {
    let mut wanted: BTreeMap<String, &Endpoint> =
        group.endpoints.iter().map(|endpoint| (identity(endpoint), endpoint)).collect();
    for slice in slices.iter_mut() {
        let before = std::mem::take(&mut slice.endpoints);
        slice.endpoints = before.iter().filter_map(|old| wanted.remove(&identity(old)).cloned()).collect();
        slice.changed = slice.endpoints != before;
    }
    let mut rest: VecDeque<Endpoint> = wanted.into_values().cloned().collect();
    slices.sort_by_key(|slice| std::cmp::Reverse(slice.endpoints.len()));
    for slice in slices.iter_mut().filter(|slice| slice.changed) {
        add(slice, &mut rest);
    }
    while !rest.is_empty() {
        let roomy = |slice: &&mut Slice| slice.endpoints.len() + rest.len() <= ENDPOINTS_MAX;
        // The fullest that takes all, so that the others keep their room.
        match slices.iter_mut().filter(roomy).max_by_key(|slice| slice.endpoints.len()) {
            Some(slice) => add(slice, &mut rest),
            None => {
                let endpoints = rest.drain(..rest.len().min(ENDPOINTS_MAX)).collect();
                fresh.push(Group { address_type: group.address_type, ports: group.ports.clone(), endpoints });
            }
        }
    }
}

fn add(slice: &mut Slice, rest: &mut VecDeque<Endpoint>) {
    let room = ENDPOINTS_MAX.saturating_sub(slice.endpoints.len()).min(rest.len());
    slice.changed |= room > 0;
    slice.endpoints.extend(rest.drain(..room));
}

/// What makes an endpoint the same one though its conditions changed.
fn identity(endpoint: &Endpoint) -> String {
    let target = endpoint.target_ref.as_ref().and_then(|target| target.uid.as_deref()).unwrap_or_default();
    format!("{} {target}", endpoint.addresses.join(","))
}
