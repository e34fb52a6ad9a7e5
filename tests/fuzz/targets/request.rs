//! A method, a path and a query: what they ask for is decided before anything else is known.
#![no_main]

use control_apiserver::authorize::Attributes;
use control_apiserver::query::Query;
use control_apiserver::route::{Route, Target};
use control_apiserver::selection::Selection;
use http::Method;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let query = Query::parse(query);
    for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
        let route = Route::parse(&method, path, &query);
        let (named, _) = Selection::narrowed(&route, &query);
        let attributes = route.attributes(&named);
        // Who may not see an object must not reach it as a path, nor the other way round.
        match &route.target {
            Target::Resource(at) => {
                assert!(matches!(attributes, Attributes::Resource { resource, .. } if resource == at.resource.plural));
                assert!(!at.name.contains('/') && !at.namespace.contains('/'));
                let _ = Selection::of(at, &query);
            }
            _ => assert!(matches!(attributes, Attributes::Path { .. })),
        }
    }
});
