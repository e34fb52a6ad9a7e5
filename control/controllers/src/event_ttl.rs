//! Events are deleted an hour after they last happened.

use std::time::Duration;

use control_api::resource::EVENTS;
use control_api::view::core::Event;
use control_client::{DeleteOptions, Key, Resource};

use crate::action::Action;
use crate::controller::{self, Controller, Input};
use crate::error::Error;
use crate::world::{World, view};

/// As in Kubernetes.
const AGE_SECONDS_MAX: i64 = 3600;
/// Deadlines fall on multiples of this, so that many Events cost one wake-up.
const SWEEP_SECONDS: i64 = 60;

static OUTPUTS: [&Resource; 1] = [&EVENTS];

pub struct EventTtlController;

impl Controller for EventTtlController {
    fn name(&self) -> &'static str {
        "event-ttl-controller"
    }

    fn inputs(&self) -> Vec<Input> {
        vec![Input { resource: &EVENTS, keys: controller::itself }]
    }

    fn outputs(&self) -> &'static [&'static Resource] {
        &OUTPUTS
    }

    fn reconcile(&self, world: &World, key: &Key) -> Result<Vec<Action>, Error> {
        let Some(object) = world.get(key) else { return Ok(Vec::new()) };
        let event: Event = view(&object)?;
        let last = event.last_timestamp.or(event.first_timestamp).or(event.metadata.creation_timestamp);
        let now = world.now().as_second();
        let due = last.map_or(now, |time| world.corrected(time.0).as_second()) + AGE_SECONDS_MAX;
        if due <= now {
            return Ok(vec![Action::Delete { key: key.clone(), options: DeleteOptions::default(), announce: None }]);
        }
        let swept = (due + SWEEP_SECONDS - 1).div_euclid(SWEEP_SECONDS) * SWEEP_SECONDS;
        Ok(vec![Action::RequeueAfter(Duration::from_secs(u64::try_from(swept - now).unwrap_or(0)))])
    }
}
