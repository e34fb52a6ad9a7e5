//! EndpointSlices of Services with a selector: the pods behind each, at most a hundred a slice.
//!
//! In reading order: [`desired`] the endpoints that there should be, [`pack`] how they are spread over the slices that
//! exist so that few are written, [`maker`] what all slices of one owner carry.

use control_api::resource::{ENDPOINT_SLICES, NODES, PODS, SERVICES};
use control_api::view::core::{Pod, Service};
use control_client::{Key, Object, Resource};

use crate::action::Action;
use crate::controller::{self, Change, Controller, Input};
use crate::error::Error;
use crate::service;
use crate::world::{World, view};

mod desired;
pub(crate) mod maker;
pub(crate) mod pack;

use maker::Maker;

/// The value of the managed-by label on slices that are ours.
const MANAGER: &str = "endpointslice-controller.k8s.io";
const ZONE: &str = "topology.kubernetes.io/zone";

static OUTPUTS: [&Resource; 1] = [&ENDPOINT_SLICES];

pub struct EndpointSliceController;

impl Controller for EndpointSliceController {
    fn name(&self) -> &'static str {
        "endpoint-slice-controller"
    }

    fn inputs(&self) -> Vec<Input> {
        vec![
            Input { resource: &SERVICES, keys: controller::itself },
            Input { resource: &PODS, keys: service::concerned },
            Input { resource: &ENDPOINT_SLICES, keys: service_of },
            Input { resource: &NODES, keys: in_another_zone },
        ]
    }

    fn outputs(&self) -> &'static [&'static Resource] {
        &OUTPUTS
    }

    fn reconcile(&self, world: &World, key: &Key) -> Result<Vec<Action>, Error> {
        // The slices of a Service that is gone are garbage: they name it as their owner.
        let Some(object) = world.get(key) else { return Ok(Vec::new()) };
        let service: Service = view(&object)?;
        let existing = maker::owned(world, &object, MANAGER);
        let Some(selector) = service::selector(&service) else {
            return Ok(existing.iter().map(|slice| maker::delete(&slice.key)).collect());
        };
        let headless = service::is_headless(&service).then_some(service::HEADLESS);
        let maker = Maker::new(&object, MANAGER, headless);
        let wanted = desired::desired(world, &service, &key.namespace, selector)?;
        let wanted = if wanted.is_empty() { vec![pack::Group::default()] } else { wanted };
        pack::pack(&maker, &existing, wanted)
    }
}

/// The Service whose slice was changed, perhaps by somebody else.
fn service_of(_: &World, change: &Change<'_>) -> Vec<Key> {
    maker::named_by(change, MANAGER).map(|name| Key::new(&SERVICES, &change.object.key.namespace, name)).collect()
}

/// A node that moved to another zone concerns the Services of its pods.
fn in_another_zone(world: &World, change: &Change<'_>) -> Vec<Key> {
    let zone = |object: &Object| object.meta.labels.get(ZONE).cloned();
    if change.deleted || change.previous.and_then(zone) == zone(change.object) {
        return Vec::new();
    }
    let mut keys: Vec<Key> = Vec::new();
    for pod in world.index().pods_on(&change.object.key.name) {
        keys.extend(world.index().services_selecting(&pod.key.namespace, &pod.meta.labels));
    }
    keys.sort();
    keys.dedup();
    keys
}

/// The zone of the pod's node, where it has one.
fn zone_of(world: &World, pod: &Pod) -> Option<String> {
    let node = world.get(&Key::new(&NODES, "", crate::pod::node_name(pod)?))?;
    node.meta.labels.get(ZONE).filter(|zone| !zone.is_empty()).cloned()
}
