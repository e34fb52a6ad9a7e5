//! How well a node suits a pod, 0 to 100 a criterion, with Kubernetes' criteria and weights.

use crate::affinity;
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::taint;

const SCORE_MAX: i64 = 100;
const AFFINITY_WEIGHT: i64 = 2;
const TAINT_WEIGHT: i64 = 3;
/// A container that asks for nothing still uses something: Kubernetes' assumption.
const CPU_MILLI_ASSUMED: i64 = 100;
const MEMORY_BYTES_ASSUMED: i64 = 200 << 20;

/// A node's marks before they are set in relation to the other nodes'.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// Least allocated and balanced together, 0 to 200.
    pub room: i64,
    pub preference: i64,
    pub disliked: i64,
}

pub fn marks(pod: &PodInfo, node: &NodeInfo) -> Marks {
    let cpu = share(node.used.cpu_milli + pod.requests.cpu_milli.max(CPU_MILLI_ASSUMED), node.allocatable.cpu_milli);
    let memory = share(
        node.used.memory_bytes + pod.requests.memory_bytes.max(MEMORY_BYTES_ASSUMED),
        node.allocatable.memory_bytes,
    );
    let least = (2 * PER_THOUSAND - cpu - memory) * SCORE_MAX / (2 * PER_THOUSAND);
    // Half the distance between two shares is their standard deviation.
    let balanced = (PER_THOUSAND - (cpu - memory).abs() / 2) * SCORE_MAX / PER_THOUSAND;
    Marks {
        room: least + balanced,
        preference: if pod.preferred.is_empty() { 0 } else { affinity::preference(pod, node) },
        disliked: taint::disliked(pod, node),
    }
}

const PER_THOUSAND: i64 = 1000;

/// Used of total, in thousandths, at most all of it.
fn share(used: i64, total: i64) -> i64 {
    if total <= 0 {
        return PER_THOUSAND;
    }
    let share = i128::from(used) * i128::from(PER_THOUSAND) / i128::from(total);
    i64::try_from(share).unwrap_or(PER_THOUSAND).clamp(0, PER_THOUSAND)
}

/// The final score, with preferences in relation to the most that any candidate has.
pub fn total(marks: Marks, preference_max: i64, disliked_max: i64) -> i64 {
    let preference = if preference_max > 0 { marks.preference * SCORE_MAX / preference_max } else { 0 };
    let dislike = if disliked_max > 0 { SCORE_MAX - marks.disliked * SCORE_MAX / disliked_max } else { SCORE_MAX };
    marks.room + AFFINITY_WEIGHT * preference + TAINT_WEIGHT * dislike
}
