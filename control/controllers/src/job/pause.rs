//! After a failure the next pod waits: 10 s, 20 s and so on, for failures since the last success.

use control_api::view::core::{ContainerStatus, Pod};
use jiff::Timestamp;

use super::run::Run;
use crate::pod;

const SECONDS_MIN: i64 = 10;
const SECONDS_MAX: i64 = 6 * 60;
/// Beyond so many doublings the pause is at its maximum anyway.
const DOUBLINGS_MAX: usize = 10;

/// The seconds until the next pod may be made. Read from the pods that are there, so that no restart forgets it.
pub(super) fn left(run: &Run) -> i64 {
    let now = run.world.now().as_second();
    let ends = |succeeded: bool| {
        let only_failed = run.replaces_only_failed();
        let of =
            move |owned: &&super::run::Owned| if succeeded { owned.succeeded() } else { owned.failed(only_failed) };
        run.pods
            .iter()
            .filter(of)
            .map(move |owned| finished_at(&owned.pod).map_or(now, |end| run.world.corrected(end).as_second()))
    };
    let last_success = ends(true).max();
    let failures: Vec<i64> = ends(false).filter(|end| last_success.is_none_or(|success| *end >= success)).collect();
    let Some(last) = failures.iter().max() else { return 0 };
    last + seconds(failures.len()) - now
}

fn seconds(failures: usize) -> i64 {
    (SECONDS_MIN << (failures - 1).min(DOUBLINGS_MAX)).min(SECONDS_MAX)
}

fn finished_at(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let ended = |container: &ContainerStatus| {
        container.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref().map(|time| time.0)
    };
    let containers = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    let last = containers.filter_map(ended).max();
    let ready = || pod::condition(pod, "Ready")?.last_transition_time.as_ref().map(|time| time.0);
    let deleted = || pod.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    last.or_else(ready).or_else(deleted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_six_minutes() {
        assert_eq!([1, 2, 3, 6, 7, 100].map(seconds), [10, 20, 40, 320, 360, 360]);
    }
}
