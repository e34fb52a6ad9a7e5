//! `/healthz`, `/livez` and `/readyz`, with `?verbose`.

use http::Response;

use crate::api::Api;
use crate::query::Query;
use crate::respond::{self, Body};

pub fn answer(api: &Api, probe: &str, query: &Query) -> Response<Body> {
    // A server that shuts down is alive, and no longer ready; one whose disk failed still answers reads.
    let ready = probe == "readyz";
    let closing = (ready && api.is_closing()).then(|| "shutting down".to_owned());
    let store = api.store().failure().filter(|_| ready);
    let checks = [("ping", None), ("store", store), ("shutdown", closing)];
    let ok = checks.iter().all(|(_, failure)| failure.is_none());
    if ok && !query.flag("verbose") {
        return respond::health(true, "ok".to_owned());
    }
    let mut text = String::new();
    for (name, failure) in checks {
        text.push_str(&match failure {
            None => format!("[+]{name} ok\n"),
            Some(why) => format!("[-]{name} failed: {why}\n"),
        });
    }
    text.push_str(&format!("{probe} check {}", if ok { "passed\n" } else { "failed\n" }));
    respond::health(ok, text)
}
