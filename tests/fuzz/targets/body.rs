//! Bodies in JSON, YAML and Kubernetes' protobuf, and all that is done to an object before it is stored or shown.
#![no_main]

use control_api::decode::{decode_json, decode_protobuf, decode_yaml};
use control_api::schema::{FieldValidation, check_body, for_resource};
use control_api::{Draft, Meta, defaults, quantity, resource, scale, strategy, table, validate};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [format, kind, body @ ..] = data else { return };
    let all = resource::all();
    let resource = all[usize::from(*kind) % all.len()];
    let decoded = match format % 3 {
        0 => decode_json(body),
        1 => decode_yaml(body),
        _ => decode_protobuf(body, for_resource(resource)),
    };
    let Ok(mut decoded) = decoded else { return };
    if !decoded.value.is_object() {
        return;
    }
    let checked = check_body(&mut decoded.value, resource, &decoded.duplicates, FieldValidation::Warn);
    if checked.is_err() {
        return;
    }
    let mut object = decoded.value;
    let before = object.clone();
    defaults::apply(resource, &mut object);
    strategy::prepare_create(resource, &mut object);
    let wrong = validate::create(resource, &object);
    let _ = validate::update(resource, &object, &before);
    let _ = validate::update_status(resource, &object, &before);
    strategy::prepare_update(resource, &mut object, &before, Some("status"));
    let _ = table::row(resource, &object, Timestamp::UNIX_EPOCH);
    let _ = scale::from_object(&object);
    let _ = quantity::Quantity::parse(object["spec"]["cpu"].as_str().unwrap_or_default());
    if wrong.is_empty()
        && let Ok(draft) = Draft::new(&object)
    {
        let (bytes, _) = draft.finish(7);
        // What is accepted must be readable again: every read and every start depends on it.
        decode_json(&bytes).expect("a stored object can be read");
        Meta::parse(&bytes).expect("a stored object's metadata can be read");
    }
});
