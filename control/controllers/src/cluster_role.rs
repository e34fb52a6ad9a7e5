//! ClusterRoles that gather the rules of others: `aggregationRule` names them by their labels.

use control_api::LabelSelector;
use control_api::resource::CLUSTER_ROLES;
use control_client::{Key, Object, Resource};
use serde_json::{Value, json};

use crate::action::Action;
use crate::controller::{Change, Controller, Input};
use crate::error::Error;
use crate::world::{World, view};

static OUTPUTS: [&Resource; 1] = [&CLUSTER_ROLES];

pub struct ClusterRoleController;

impl Controller for ClusterRoleController {
    fn name(&self) -> &'static str {
        "clusterrole-aggregation-controller"
    }

    fn inputs(&self) -> Vec<Input> {
        vec![Input { resource: &CLUSTER_ROLES, keys: gathering }]
    }

    fn outputs(&self) -> &'static [&'static Resource] {
        &OUTPUTS
    }

    fn reconcile(&self, world: &World, key: &Key) -> Result<Vec<Action>, Error> {
        let Some(found) = world.get(key) else { return Ok(Vec::new()) };
        let role: Value = view(&found)?;
        let selectors = role["aggregationRule"]["clusterRoleSelectors"].as_array();
        let Some(selectors) = selectors.filter(|selectors| !selectors.is_empty()) else { return Ok(Vec::new()) };
        // One that cannot be read selects nothing.
        let selectors: Vec<LabelSelector> =
            selectors.iter().filter_map(|selector| LabelSelector::from_value(selector).ok()).collect();
        let mut rules: Vec<Value> = Vec::new();
        // In the order of names, as the store lists them.
        for part in world.list(&CLUSTER_ROLES, None) {
            let selected = selectors.iter().any(|selector| selector.matches(&part.meta.labels));
            if !selected || part.key == *key {
                continue;
            }
            let part: Value = view(&part)?;
            for rule in part["rules"].as_array().into_iter().flatten() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
        let same = role["rules"].as_array().map_or(rules.is_empty(), |found| *found == rules);
        Ok(if same { Vec::new() } else { vec![Action::merge(key, json!({"rules": rules}))] })
    }
}

/// Every role that gathers: a change of any role may be one of theirs.
fn gathering(world: &World, _: &Change<'_>) -> Vec<Key> {
    let gathers = |role: &&std::sync::Arc<Object>| {
        // Most roles do not, and are not parsed.
        role.json.windows(WORD.len()).any(|window| window == WORD)
    };
    world.list(&CLUSTER_ROLES, None).iter().filter(gathers).map(|role| role.key.clone()).collect()
}

const WORD: &[u8] = b"\"aggregationRule\"";
