//! Label and field selectors, in text and as objects.
#![no_main]

use std::collections::BTreeMap;

use control_api::{FieldSelector, LabelSelector, resource};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        let labels = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
        if let Ok(selector) = LabelSelector::parse(text) {
            let _ = selector.matches(&labels);
        }
        if let Ok(selector) = FieldSelector::parse(text) {
            for resource in resource::all() {
                let _ = selector.check(resource);
            }
            let _ = selector.matches(&serde_json::json!({"metadata": {"name": "a"}}));
        }
    }
    if let Ok(value) = serde_json::from_slice(data)
        && let Ok(selector) = LabelSelector::from_value(&value)
    {
        let _ = selector.matches(&BTreeMap::new());
    }
});
