//! A resource's objects as of one revision, now or a little while ago, and one page of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control_api::status::Details;
use control_api::{Reason, Resource, Status};
use control_store::{EventKind, Object, Page, Store};
use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::query::Query;
use crate::selection::Selection;

/// Where a long list goes on; opaque to clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Token {
    /// 0 goes on with what is there now, after the revision of the first page was forgotten.
    #[serde(rename = "rv")]
    revision: u64,
    #[serde(rename = "ns")]
    namespace: String,
    name: String,
}

/// Which revision and which part of a list is wanted.
#[derive(Debug, Clone, Default)]
pub struct Window {
    /// 0 is no limit.
    limit: usize,
    token: Option<Token>,
    /// A list of exactly this revision.
    exact: Option<u64>,
    /// A list of this revision or a later one.
    at_least: u64,
}

fn invalid(field: &str, why: &str) -> Status {
    Status::new(Reason::Invalid, format!("ListOptions.meta.k8s.io \"\" is invalid: {field}: {why}"))
}

impl Window {
    pub fn parse(query: &Query) -> Result<Self, Status> {
        // Less than nothing is no limit, as Kubernetes has it.
        let limit = query.number("limit")?.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(0);
        let version = query.text("resourceVersion");
        let rule = query.text("resourceVersionMatch");
        let revision = match version {
            "" => 0,
            text => text.parse::<u64>().map_err(|_| {
                invalid("resourceVersion", &format!("Invalid value: \"{text}\": must be a non-negative integer"))
            })?,
        };
        if !rule.is_empty() && version.is_empty() {
            let why = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided";
            return Err(invalid("resourceVersionMatch", why));
        }
        let mut window = Self { limit, ..Self::default() };
        match query.text("continue") {
            "" => {}
            _ if !rule.is_empty() => {
                let why = "Forbidden: resourceVersionMatch is forbidden when continue is provided";
                return Err(invalid("resourceVersionMatch", why));
            }
            text => {
                window.token = Some(Token::decode(text)?);
                return Ok(window);
            }
        }
        match rule {
            "Exact" if revision == 0 => {
                let why = "Forbidden: resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"";
                return Err(invalid("resourceVersionMatch", why));
            }
            "Exact" => window.exact = Some(revision),
            "" | "NotOlderThan" => window.at_least = revision,
            other => {
                let why = format!("Unsupported value: \"{other}\": supported values: \"Exact\", \"NotOlderThan\"");
                return Err(invalid("resourceVersionMatch", &why));
            }
        }
        Ok(window)
    }
}

impl Token {
    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).expect("a token is plain JSON"))
    }

    fn decode(text: &str) -> Result<Self, Status> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        bytes
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| Status::bad_request("continue key is not valid"))
    }
}

/// One page of a list.
pub struct Snapshot {
    pub revision: u64,
    pub items: Vec<Arc<Object>>,
    next: Option<Token>,
    /// Objects after this page; unknown where a selector leaves some out.
    remaining: Option<usize>,
}

impl Snapshot {
    /// `ListMeta`.
    pub fn metadata(&self) -> Map<String, Value> {
        let mut metadata = Map::new();
        metadata.insert("resourceVersion".to_owned(), json!(self.revision.to_string()));
        if let Some(next) = &self.next {
            metadata.insert("continue".to_owned(), json!(next.encode()));
        }
        if let Some(remaining) = self.remaining.filter(|remaining| *remaining > 0) {
            metadata.insert("remainingItemCount".to_owned(), json!(remaining));
        }
        metadata
    }
}

/// A revision that this server has not reached.
pub fn check_reached(wanted: u64, revision: u64) -> Result<(), Status> {
    if wanted <= revision {
        return Ok(());
    }
    Err(Status::new(Reason::Timeout, format!("Too large resource version: {wanted}, current: {revision}")))
}

/// Takes the page that `window` describes.
pub fn take(
    store: &dyn Store,
    resource: &'static Resource,
    selection: &Selection,
    window: &Window,
) -> Result<Snapshot, Status> {
    let token = window.token.as_ref();
    let wanted = token.map(|token| token.revision).or(window.exact).filter(|revision| *revision > 0);
    check_reached(wanted.unwrap_or(window.at_least), store.revision())?;
    let namespace = selection.namespace.as_deref();
    let listing = store.list(resource, namespace, &Page::default());
    let (revision, mut items) = match wanted {
        Some(revision) if revision < listing.revision => {
            (revision, rewind(store, resource, listing.items, revision).ok_or_else(|| expired(token))?)
        }
        _ => (listing.revision, listing.items),
    };
    if let Some(token) = &window.token {
        let after = (&*token.namespace, &*token.name);
        items.retain(|object| (&*object.key.namespace, &*object.key.name) > after);
    }
    items.retain(|object| selection.matches(object));
    let (mut next, mut remaining) = (None, None);
    if window.limit > 0 && items.len() > window.limit {
        remaining = (!selection.selects()).then(|| items.len() - window.limit);
        items.truncate(window.limit);
        next = items.last().map(|last| Token {
            revision,
            namespace: last.key.namespace.to_string(),
            name: last.key.name.to_string(),
        });
    }
    Ok(Snapshot { revision, items, next, remaining })
}

/// 410; with a token that goes on from the same place in what is there now.
fn expired(token: Option<&Token>) -> Status {
    let Some(token) = token else {
        return Status::expired("The resourceVersion for the provided list is too old.");
    };
    let mut status = Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list \
         without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
         results. Continuing with the provided token results in an inconsistent list - objects that were created, \
         modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    let list_continue = Token { revision: 0, ..token.clone() }.encode();
    status.details = Some(Box::new(Details { list_continue, ..Details::default() }));
    status
}

/// The objects as they were at `revision`: today's with the history since then undone. None where history does not
/// reach back. Objects of other namespaces that come back with it are the selection's to leave out.
fn rewind(
    store: &dyn Store,
    resource: &'static Resource,
    items: Vec<Arc<Object>>,
    revision: u64,
) -> Option<Vec<Arc<Object>>> {
    let mut watch = store.watch(resource, revision).ok()?;
    let events = match watch.next().now_or_never() {
        Some(events) => events.ok()?,
        None => return Some(items),
    };
    let name = |object: &Object| (object.key.namespace.clone(), object.key.name.clone());
    let mut past: BTreeMap<_, _> = items.into_iter().map(|object| (name(&object), object)).collect();
    for event in events.into_iter().rev() {
        match (event.kind, event.previous) {
            (EventKind::Added, _) | (_, None) => past.remove(&name(&event.object)),
            (_, Some(previous)) => past.insert(name(&previous), previous),
        };
    }
    Some(past.into_values().collect())
}
