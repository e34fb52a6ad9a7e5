//! `/healthz`, `/livez` and `/readyz`, with `?verbose`.

use http::Response;

use crate::api::Api;
use crate::query::Query;
use crate::respond::{self, Body};

pub fn answer(api: &Api, probe: &str, query: &Query) -> Response<Body> {
    // A server that shuts down is alive, and no longer ready.
    let closing = api.is_closing() && probe == "readyz";
    let checks = [("ping", true), ("store", true), ("shutdown", !closing)];
    let ok = checks.iter().all(|(_, ok)| *ok);
    if ok && !query.flag("verbose") {
        return respond::health(true, "ok".to_owned());
    }
    let mut text = String::new();
    for (name, ok) in checks {
        text.push_str(&if ok { format!("[+]{name} ok\n") } else { format!("[-]{name} failed: shutting down\n") });
    }
    text.push_str(&format!("{probe} check {}", if ok { "passed\n" } else { "failed\n" }));
    respond::health(ok, text)
}
