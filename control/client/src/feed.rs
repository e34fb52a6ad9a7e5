//! Watches joined into one stream: one task and one watch a resource. A reader that is slow costs nothing, since a
//! watch is a position in the store's history; one that falls behind it is told to look at everything again.

use std::sync::Arc;

use control_api::Resource;
use control_store::{Event, Object};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::client::Client;

/// Batches that may wait for the reader; beyond it the watches stand still.
const BATCHES_MAX: usize = 64;

/// What a [`Feed`] tells.
#[derive(Debug, Clone)]
pub enum News {
    /// Everything there is of the resource: at the start, and where the history did not reach back.
    All(&'static Resource, Vec<Arc<Object>>),
    /// Changes, in order.
    Changed(&'static Resource, Vec<Event>),
}

/// Ends its tasks when dropped.
#[derive(Debug)]
pub struct Feed {
    news: mpsc::Receiver<News>,
    _tasks: JoinSet<()>,
}

impl Feed {
    pub fn new(client: &Client, resources: impl IntoIterator<Item = &'static Resource>) -> Self {
        let (sender, news) = mpsc::channel(BATCHES_MAX);
        let mut tasks = JoinSet::new();
        for resource in resources {
            tasks.spawn(follow(client.clone(), resource, sender.clone()));
        }
        Self { news, _tasks: tasks }
    }

    /// The next news; waits for it. Cancel-safe.
    pub async fn next(&mut self) -> Option<News> {
        self.news.recv().await
    }

    /// News that is there already.
    pub fn ready(&mut self) -> Option<News> {
        self.news.try_recv().ok()
    }
}

/// Ends when the reader is gone.
async fn follow(client: Client, resource: &'static Resource, sender: mpsc::Sender<News>) {
    loop {
        let listing = client.list(resource, None);
        let Ok(mut watch) = client.watch(resource, listing.revision) else { continue };
        if sender.send(News::All(resource, listing.items)).await.is_err() {
            return;
        }
        while let Ok(events) = watch.next().await {
            if sender.send(News::Changed(resource, events)).await.is_err() {
                return;
            }
        }
    }
}
