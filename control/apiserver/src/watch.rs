//! Watches: initial events, changes as they come, bookmarks, and a clear end.

mod feed;
mod line;

use std::sync::Arc;
use std::time::Duration;

use control_api::{Reason, Status};
use control_store::{Object, Page};
use futures_util::stream;
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use crate::api::Api;
use crate::clock;
use crate::list::check_reached;
use crate::negotiate::Shape;
use crate::pipeline::Incomer;
use crate::query::Query;
use crate::respond::{self, Body};
use crate::route::ResourcePath;
use crate::selection::Selection;
use feed::Feed;
use line::Writer;

/// A watch without `timeoutSeconds` ends after this time and up to as much again, as Kubernetes spreads it.
const WATCH_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// Where a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Objects first, then changes.
    State,
    /// Objects first, then a bookmark that says so, then changes.
    StateMarked,
    /// Changes after a revision.
    After(u64),
}

fn invalid(field: &str, why: &str) -> Status {
    Status::new(Reason::Invalid, format!("ListOptions.meta.k8s.io \"\" is invalid: {field}: {why}"))
}

impl Start {
    fn parse(query: &Query, newest: u64) -> Result<Self, Status> {
        let revision = match query.text("resourceVersion") {
            "" | "0" => 0,
            text => text.parse::<u64>().map_err(|_| {
                invalid("resourceVersion", &format!("Invalid value: \"{text}\": must be a non-negative integer"))
            })?,
        };
        check_reached(revision, newest)?;
        let rule = query.text("resourceVersionMatch");
        let Some(initial) = query.get("sendInitialEvents") else {
            if !rule.is_empty() {
                let why = "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
                return Err(invalid("resourceVersionMatch", why));
            }
            return Ok(if revision == 0 { Self::State } else { Self::After(revision) });
        };
        if rule != "NotOlderThan" {
            let why = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            return Err(invalid("resourceVersionMatch", why));
        }
        if initial != "false" {
            return Ok(Self::StateMarked);
        }
        Ok(Self::After(if revision == 0 { newest } else { revision }))
    }
}

/// Answers a watch. Even an expired one begins with a 200: its only event is the error, as clients expect.
pub fn answer(api: &Arc<Api>, at: &ResourcePath, incomer: &Incomer) -> Result<Response<Body>, Status> {
    let query = &incomer.query;
    let selection = Selection::of(at, query)?;
    let writer = Writer::new(at.resource, Shape::of(incomer.http.headers(), query));
    let timeout = match query.number("timeoutSeconds")?.and_then(|seconds| u64::try_from(seconds).ok()) {
        Some(seconds) if seconds > 0 => Duration::from_secs(seconds),
        _ => WATCH_TIMEOUT + Duration::from_secs(clock::spread(WATCH_TIMEOUT.as_secs())),
    };
    let start = Start::parse(query, api.store().revision())?;
    let (from, initial) = match start {
        Start::After(revision) => (revision, Vec::new()),
        Start::State | Start::StateMarked => {
            let listing = api.store().list(at.resource, selection.namespace.as_deref(), &Page::default());
            let matching = |object: &Arc<Object>| selection.matches(object);
            (listing.revision, listing.items.into_iter().filter(matching).collect())
        }
    };
    let mut feed = Feed::new(api.clone(), at.resource, from, selection, writer, timeout);
    feed.begin(initial, start == Start::StateMarked);
    if query.flag("allowWatchBookmarks") {
        feed.bookmark();
    }
    let pieces = stream::unfold(feed, |mut feed| async move {
        let piece = feed.next().await?;
        Some((Ok::<_, std::convert::Infallible>(Frame::data(piece)), feed))
    });
    Ok(respond::stream(StreamBody::new(pieces).boxed_unsync()))
}
