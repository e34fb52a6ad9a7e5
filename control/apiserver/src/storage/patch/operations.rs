//! A JSON patch's operations, with limits on how much they may make out of little.

use control_api::{Reason, Status};
use json_patch::{PatchError, PatchOperation};
use serde_json::Value;

/// Operations in one patch, as Kubernetes limits them.
const OPERATIONS_MAX: usize = 10_000;
/// What all copies of one patch may add, as Kubernetes limits it: each one can double the object.
const COPIED_BYTES_MAX: usize = 3 << 20;
/// Nesting that a body may have, so that what is stored can be read again.
const DEPTH_MAX: usize = 100;
/// How deep an object may become on the way. Counted from above, without looking at the object each time.
const DEPTH_ON_THE_WAY_MAX: usize = 512;

/// Reads a patch.
pub fn read(body: &[u8]) -> Result<json_patch::Patch, Status> {
    let patch: json_patch::Patch =
        serde_json::from_slice(body).map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
    if patch.0.len() > OPERATIONS_MAX {
        let count = patch.0.len();
        return Err(too_large(format!(
            "The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {count}"
        )));
    }
    Ok(patch)
}

/// Why a patch was not applied.
pub enum Refusal {
    TooLarge(Status),
    Failed(PatchError),
}

/// Applies a patch; `object` is of no use where that fails.
pub fn apply(patch: &[PatchOperation], object: &mut Value) -> Result<(), Refusal> {
    let refuse = |what: &str| Refusal::TooLarge(too_large(format!("the JSON patch {what}")));
    let (mut deepest, mut copied_bytes) = (depth(object), 0);
    for (number, operation) in patch.iter().enumerate() {
        let below = length(operation.path().as_str());
        let reached = match operation {
            PatchOperation::Add(add) => below + depth(&add.value),
            PatchOperation::Replace(replace) => below + depth(&replace.value),
            PatchOperation::Move(from) => below + deepest.saturating_sub(length(from.from.as_str())),
            PatchOperation::Copy(from) => {
                copied_bytes += object.pointer(from.from.as_str()).map_or(0, |value| value.to_string().len());
                below + deepest.saturating_sub(length(from.from.as_str()))
            }
            PatchOperation::Remove(_) | PatchOperation::Test(_) => 0,
        };
        if copied_bytes > COPIED_BYTES_MAX {
            return Err(refuse(&format!("copies more than {COPIED_BYTES_MAX} bytes")));
        }
        deepest = deepest.max(reached);
        if deepest > DEPTH_ON_THE_WAY_MAX {
            return Err(refuse("nests too deeply"));
        }
        // The caller keeps the old object, so there is nothing to undo.
        json_patch::patch_unsafe(object, std::slice::from_ref(operation)).map_err(|mut error| {
            error.operation = number;
            Refusal::Failed(error)
        })?;
    }
    if deepest > DEPTH_MAX && depth(object) > DEPTH_MAX { Err(refuse("nests too deeply")) } else { Ok(()) }
}

fn too_large(message: String) -> Status {
    Status::new(Reason::RequestEntityTooLarge, message)
}

/// Steps of a JSON pointer.
fn length(pointer: &str) -> usize {
    pointer.bytes().filter(|byte| *byte == b'/').count()
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(operations: Value, object: Value) -> Result<Value, Refusal> {
        let patch = read(operations.to_string().as_bytes()).expect("a well-formed patch");
        let mut object = object;
        apply(&patch, &mut object).map(|()| object)
    }

    #[test]
    fn a_patch_that_doubles_the_object_again_and_again_is_refused() {
        let double = json!({"op": "copy", "from": "/data", "path": "/data/again"});
        let again = json!({"op": "move", "from": "/data", "path": "/kept"});
        let back = json!({"op": "add", "path": "/data", "value": {}});
        let whole = json!({"op": "copy", "from": "/kept", "path": "/data/kept"});
        let round = [double, again, back, whole];
        let operations: Vec<Value> = round.iter().cycle().take(400).cloned().collect();
        let object = json!({"data": {"text": "x".repeat(10_000)}});
        assert!(matches!(run(json!(operations), object), Err(Refusal::TooLarge(_))));
    }

    #[test]
    fn a_patch_that_wraps_the_object_again_and_again_is_refused() {
        let round = [
            json!({"op": "add", "path": "/wrap", "value": {}}),
            json!({"op": "move", "from": "/data", "path": "/wrap/data"}),
            json!({"op": "move", "from": "/wrap", "path": "/data"}),
        ];
        let operations: Vec<Value> = round.iter().cycle().take(9_999).cloned().collect();
        assert!(matches!(run(json!(operations), json!({"data": 1})), Err(Refusal::TooLarge(_))));
        // Deeper than a body may be, and so never readable again.
        let operations: Vec<Value> = round.iter().cycle().take(450).cloned().collect();
        assert!(matches!(run(json!(operations), json!({"data": 1})), Err(Refusal::TooLarge(_))));
    }

    #[test]
    fn moves_and_copies_of_an_ordinary_patch_pass_and_a_failure_names_its_operation() {
        let moved = json!([
            {"op": "move", "from": "/spec/a", "path": "/spec/b"},
            {"op": "copy", "from": "/spec/b", "path": "/spec/c"},
        ]);
        let new = run(moved, json!({"spec": {"a": [1]}})).ok().expect("an ordinary patch");
        assert_eq!(new, json!({"spec": {"b": [1], "c": [1]}}));
        let failing = json!([{"op": "add", "path": "/a", "value": 1}, {"op": "test", "path": "/a", "value": 2}]);
        let Err(Refusal::Failed(error)) = run(failing, json!({})) else { panic!("the test must fail") };
        assert_eq!(error.to_string(), "operation '/1' failed at path '/a': value did not match");
    }
}
