//! One open watch: a position in the store's history, and what is due beside its events.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use control_api::{Resource, Status};
use control_store::{Event, EventKind, Expired, Object, Watch};
use futures_util::FutureExt;
use tokio::time::{Instant, Sleep};

use super::line::Writer;
use crate::api::Api;
use crate::metrics::Held;
use crate::selection::Selection;

/// Events are written in pieces of about so many bytes.
const PIECE_BYTES: usize = 64 << 10;
/// How often a watch that allows it learns how far it is.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);

pub struct Feed {
    api: Arc<Api>,
    /// None after an error was told: nothing follows.
    watch: Option<Watch>,
    selection: Selection,
    writer: Writer,
    initial: VecDeque<Arc<Object>>,
    /// The bookmark after the initial objects is still due.
    mark_due: bool,
    events: VecDeque<Event>,
    failed: Option<Status>,
    ends_at: Instant,
    bookmark_at: Option<Instant>,
    /// Rings at the earlier of the two.
    alarm: Pin<Box<Sleep>>,
    closed: Pin<Box<dyn Future<Output = ()> + Send>>,
    _counted: Held,
}

enum Woken {
    Events(Result<Vec<Event>, Expired>),
    Alarm,
    Closed,
}

impl Feed {
    pub fn new(
        api: Arc<Api>,
        resource: &'static Resource,
        from: u64,
        selection: Selection,
        writer: Writer,
        timeout: Duration,
    ) -> Self {
        let (watch, failed) = match api.store().watch(resource, from) {
            Ok(watch) => (Some(watch), None),
            Err(expired) => (None, Some(Status::expired(expired.to_string()))),
        };
        let ends_at = Instant::now() + timeout;
        Self {
            watch,
            selection,
            writer,
            initial: VecDeque::new(),
            mark_due: false,
            events: VecDeque::new(),
            failed,
            ends_at,
            bookmark_at: None,
            alarm: Box::pin(tokio::time::sleep_until(ends_at)),
            closed: Box::pin(api.closed()),
            _counted: api.metrics.watching(),
            api,
        }
    }

    /// Objects to tell as added before anything else, and whether a bookmark says where they end.
    pub fn begin(&mut self, initial: Vec<Arc<Object>>, marked: bool) {
        self.initial = initial.into();
        self.mark_due = marked;
    }

    /// Allows bookmarks.
    pub fn bookmark(&mut self) {
        self.bookmark_at = Some(Instant::now() + BOOKMARK_INTERVAL);
        self.set_alarm();
    }

    fn set_alarm(&mut self) {
        let at = self.bookmark_at.map_or(self.ends_at, |at| at.min(self.ends_at));
        self.alarm.as_mut().reset(at);
    }

    /// The next bytes; none at the end.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            let piece = self.ready();
            if !piece.is_empty() {
                return Some(piece);
            }
            let watch = self.watch.as_mut()?;
            let woken = tokio::select! {
                events = watch.next() => Woken::Events(events),
                () = self.alarm.as_mut() => Woken::Alarm,
                () = self.closed.as_mut() => Woken::Closed,
            };
            match woken {
                Woken::Events(events) => self.take(events),
                Woken::Alarm if Instant::now() < self.ends_at => return Some(self.due_bookmark()),
                Woken::Alarm | Woken::Closed => return None,
            }
        }
    }

    fn take(&mut self, events: Result<Vec<Event>, Expired>) {
        match events {
            Ok(events) => self.events.extend(events),
            Err(expired) => self.fail(&Status::expired(expired.to_string())),
        }
    }

    fn fail(&mut self, status: &Status) {
        self.watch = None;
        self.failed = Some(status.clone());
    }

    /// What can be written without waiting.
    fn ready(&mut self) -> Bytes {
        let mut out = BytesMut::new();
        while out.len() < PIECE_BYTES
            && let Some(object) = self.initial.pop_front()
        {
            if let Err(status) = self.writer.event(&mut out, "ADDED", &object) {
                self.fail(&status);
            }
        }
        if self.initial.is_empty() && std::mem::take(&mut self.mark_due) {
            let position = self.watch.as_ref().map_or(0, Watch::position);
            self.writer.bookmark(&mut out, position, true);
        }
        while out.len() < PIECE_BYTES
            && let Some(event) = self.events.pop_front()
        {
            if let Err(status) = self.write(&mut out, &event) {
                self.fail(&status);
            }
        }
        if self.initial.is_empty()
            && self.events.is_empty()
            && let Some(status) = self.failed.take()
        {
            self.writer.error(&mut out, &status);
        }
        out.freeze()
    }

    /// A change as this watch sees it: one that moves an object into the selection adds it, one that moves it out
    /// deletes it.
    fn write(&mut self, out: &mut BytesMut, event: &Event) -> Result<(), Status> {
        let was = event.previous.as_ref().filter(|previous| self.selection.matches(previous));
        let is = event.kind != EventKind::Deleted && self.selection.matches(&event.object);
        match (was, is) {
            (None, false) => Ok(()),
            (None, true) => self.writer.event(out, "ADDED", &event.object),
            (Some(_), true) => self.writer.event(out, "MODIFIED", &event.object),
            (Some(_), false) if event.kind == EventKind::Deleted => self.writer.event(out, "DELETED", &event.object),
            (Some(previous), false) => self.writer.left(out, previous, event.object.revision),
        }
    }

    /// A bookmark after everything that was told. The store's revision is read before looking for events, so that a
    /// client that resumes there misses nothing.
    fn due_bookmark(&mut self) -> Bytes {
        self.bookmark_at = Some(Instant::now() + BOOKMARK_INTERVAL);
        self.set_alarm();
        let newest = self.api.store().revision();
        let mut out = BytesMut::new();
        let Some(watch) = self.watch.as_mut() else { return out.freeze() };
        match watch.next().now_or_never() {
            Some(events) => self.take(events),
            None => {
                let position = watch.position().max(newest);
                self.writer.bookmark(&mut out, position, false);
            }
        }
        if out.is_empty() { self.ready() } else { out.freeze() }
    }
}
