//! Get and list, out of the store's memory.

mod snapshot;

pub use snapshot::check_reached;

use std::sync::Arc;
use std::vec::IntoIter;

use bytes::{Bytes, BytesMut};
use control_api::{Resource, Status};
use control_store::{Key, Object};
use futures_util::stream;
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::api::Api;
use crate::negotiate::{Shape, metadata, parse};
use crate::pipeline::Incomer;
use crate::respond::{self, Body};
use crate::route::ResourcePath;
use crate::selection::Selection;
use crate::storage::scale;
use crate::table;
use snapshot::Window;

/// A long list is written in pieces of about so many bytes, so that it never exists as a whole.
const PIECE_BYTES: usize = 64 << 10;

/// A door for the fuzz target to a list's window and its continue token.
#[cfg(any(fuzzing, debug_assertions))]
pub fn fuzz_window(query: &crate::query::Query) {
    let _ = Window::parse(query);
}

/// One object, or a subresource that is read as one.
pub fn get(api: &Api, at: &ResourcePath, incomer: &Incomer) -> Result<Response<Body>, Status> {
    let key = Key::new(at.resource, &at.namespace, &at.name);
    let object = api.store().get(&key).ok_or_else(|| Status::not_found(at.resource, &at.name))?;
    match at.subresource.as_str() {
        "" | "status" | "ephemeralcontainers" | "approval" => {
            let shape = Shape::of(incomer.http.headers(), &incomer.query);
            Ok(respond::json(shape.one(&object)?))
        }
        "scale" => Ok(respond::value(&scale::of(&object)?)),
        other => Err(Status::new(
            control_api::Reason::MethodNotAllowed,
            format!("the server does not allow this method on the requested resource: {other}"),
        )),
    }
}

/// A list in the shape that was asked for.
pub fn list(api: &Api, at: &ResourcePath, incomer: &Incomer) -> Result<Response<Body>, Status> {
    let selection = Selection::of(at, &incomer.query)?;
    let window = Window::parse(&incomer.query)?;
    let shape = Shape::of(incomer.http.headers(), &incomer.query);
    let snapshot = snapshot::take(&**api.store(), at.resource, &selection, &window)?;
    let listed = Listed {
        head: Some(head(at.resource, shape, &snapshot.metadata())),
        items: snapshot.items.into_iter(),
        shape,
        now: Timestamp::now(),
        first: true,
        done: false,
    };
    Ok(listed.respond())
}

/// Everything before the items.
fn head(resource: &Resource, shape: Shape, list_metadata: &Map<String, Value>) -> String {
    let list_metadata = json!(list_metadata);
    match shape {
        Shape::Object => {
            let (kind, version) = (resource.kind, resource.api_version());
            format!("{{\"kind\":\"{kind}List\",\"apiVersion\":\"{version}\",\"metadata\":{list_metadata},\"items\":[")
        }
        Shape::Metadata => format!(
            "{{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{list_metadata},\
             \"items\":["
        ),
        Shape::Table(_) => format!(
            "{{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{list_metadata},\
             \"columnDefinitions\":{},\"rows\":[",
            table::columns(resource)
        ),
    }
}

/// A list on its way out.
struct Listed {
    head: Option<String>,
    items: IntoIter<Arc<Object>>,
    shape: Shape,
    now: Timestamp,
    first: bool,
    done: bool,
}

impl Listed {
    fn respond(mut self) -> Response<Body> {
        let Some(first) = self.next_piece() else { return respond::json(Bytes::new()) };
        if self.done {
            return respond::json(first);
        }
        let rest = stream::unfold((Some(first), self), |(ready, mut listed)| async move {
            let piece = ready.or_else(|| listed.next_piece())?;
            Some((Ok::<_, std::convert::Infallible>(Frame::data(piece)), (None, listed)))
        });
        respond::stream(StreamBody::new(rest).boxed_unsync())
    }

    /// The next piece's size where objects are written as they are, so that it never grows while it is filled.
    fn piece_bytes(&self) -> usize {
        let mut bytes = self.head.as_ref().map_or(0, String::len) + b"]}".len();
        for object in self.items.as_slice() {
            if bytes >= PIECE_BYTES {
                break;
            }
            bytes += object.json.len() + b",".len();
        }
        bytes
    }

    /// The next bytes; none when all was written.
    fn next_piece(&mut self) -> Option<Bytes> {
        if self.done {
            return None;
        }
        let mut piece = BytesMut::with_capacity(self.piece_bytes());
        if let Some(head) = self.head.take() {
            piece.extend_from_slice(head.as_bytes());
        }
        while piece.len() < PIECE_BYTES {
            let Some(object) = self.items.next() else {
                piece.extend_from_slice(b"]}");
                self.done = true;
                break;
            };
            match self.item(&object) {
                Ok(bytes) => {
                    if !std::mem::take(&mut self.first) {
                        piece.extend_from_slice(b",");
                    }
                    piece.extend_from_slice(&bytes);
                }
                Err(status) => tracing::error!(name = &*object.key.name, %status, "a list leaves an object out"),
            }
        }
        Some(piece.freeze())
    }

    fn item(&self, object: &Object) -> Result<Bytes, Status> {
        match self.shape {
            Shape::Object => Ok(object.json.clone()),
            Shape::Metadata => Ok(metadata(&parse(object)?).to_string().into()),
            Shape::Table(include) => Ok(table::row(object, include, self.now)?.to_string().into()),
        }
    }
}
