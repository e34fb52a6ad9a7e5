//! Old sets beyond `revisionHistoryLimit` are deleted, the oldest revision first.

use control_client::{DeleteOptions, Preconditions};

use super::rollout::Rollout;
use super::set::Set;
use crate::action::Action;

pub(super) fn clean(rollout: &mut Rollout) {
    let Some(limit) = rollout.spec.revision_history_limit.and_then(|limit| usize::try_from(limit).ok()) else { return };
    let mut old: Vec<&Set> = rollout.old.iter().filter(|set| set.object.meta.deletion_timestamp.is_none()).collect();
    let surplus = old.len().saturating_sub(limit);
    old.sort_by_key(|set| (set.revision(), set.created));
    let actions: Vec<Action> = old.into_iter().take(surplus).filter(|set| is_empty(set)).map(delete).collect();
    rollout.actions.extend(actions);
}

fn is_empty(set: &Set) -> bool {
    set.replicas == 0 && set.status_replicas == 0 && set.object.meta.generation <= set.observed_generation
}

fn delete(set: &Set) -> Action {
    let preconditions = Preconditions { uid: Some(set.object.meta.uid.clone()), ..Preconditions::default() };
    let options = DeleteOptions { preconditions, ..DeleteOptions::default() };
    Action::Delete { key: set.object.key.clone(), options, announce: None }
}
