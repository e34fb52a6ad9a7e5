//! Histories of concurrent clients against a real server that is killed amid them: each key is linearizable, and what
//! lists and watches tell is one story.
//!
//! `scripts/histories` runs more of them than the few that are made by default. In reading order: `server` is what
//! is killed, `clients` what is asked of it, `watchers` what it tells, and the checker is `tests::linear`.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

#[allow(dead_code, reason = "shared with the benches")]
#[path = "../benches/cluster/client.rs"]
mod client;
#[path = "histories/clients.rs"]
mod clients;
#[path = "histories/server.rs"]
mod server;
#[path = "histories/watchers.rs"]
mod watchers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tests::linear::{self, Action, Outcome};
use tests::luck::{Luck, seed, setting};

use clients::{Client, Clock};
use server::Server;
use watchers::{Story, watch_live};

const HISTORIES: u64 = 50;
const CLIENTS: u64 = 5;
const OPERATIONS: u64 = 14;
/// Watches from revisions drawn at random, after each history.
const WATCHES: u64 = 4;

/// Figures of all histories.
#[derive(Default)]
struct Tally {
    operations: usize,
    /// In histories without a kill, and how long those took.
    written: usize,
    unknown: usize,
    kills: u64,
    events: usize,
    expired: u64,
    busy: Duration,
}

async fn history(server: &mut Server, number: u64, luck: &mut Luck, tally: &mut Tally) {
    let clock = Arc::new(Clock::default());
    let story = Arc::new(Story::default());
    let (began, kills) = (Instant::now(), tally.kills);
    let first = story.list(&server.access).await.expect("a server that runs answers");
    let live = tokio::spawn(watch_live(server.access.clone(), story.clone(), first.clone(), fence(number)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| Client::new(&server.access, &clock, &story, number, Luck::new(luck.draw())))
        .map(|client| tokio::spawn(client.run(OPERATIONS)))
        .collect();
    if luck.one_in(2) {
        // Two ticks an operation.
        clock.reaches(luck.below(CLIENTS * OPERATIONS * 2)).await;
        server.kill();
        server.start().await;
        tally.kills += 1;
    }
    let mut operations = Vec::new();
    for client in clients {
        operations.extend(client.await.unwrap());
    }
    let busy = began.elapsed();
    // A last write that every watch waits for.
    let last = clients::create_surely(&server.access, &fence(number)).await;
    tally.expired += live.await.unwrap();
    operations.extend(story.reads(&operations));
    linear::check(&operations).unwrap_or_else(|error| panic!("history {number}: {error}"));
    story.holds(&operations);
    for _ in 0..WATCHES {
        let from = first.revision + luck.below(last - first.revision);
        tally.expired += u64::from(!story.watch_from(&server.access, from, last).await);
    }
    clients::clean(&server.access).await;
    tally.operations += operations.len();
    tally.events += story.len();
    tally.unknown += operations.iter().filter(|operation| operation.outcome == Outcome::Unknown).count();
    let wrote = |operation: &&linear::Operation| {
        operation.action != Action::Get && matches!(operation.outcome, Outcome::Done(_))
    };
    if tally.kills == kills {
        tally.busy += busy;
        tally.written += operations.iter().filter(wrote).count();
    }
}

fn fence(number: u64) -> String {
    format!("fence-{number}")
}

#[test]
fn histories_with_kills_are_linearizable_and_lists_and_watches_tell_one_story() {
    let mut luck = Luck::new(seed());
    let mut server = Server::prepare();
    // Before the first thread: all of them must reach the server.
    server.namespace.enter();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut tally = Tally::default();
    runtime.block_on(async {
        server.start().await;
        for number in 0..setting("BRAMBLE_HISTORIES", HISTORIES) {
            history(&mut server, number, &mut luck, &mut tally).await;
        }
    });
    let Tally { operations, written, unknown, kills, events, expired, busy } = tally;
    println!(
        "{operations} operations, {unknown} of them unanswered, {kills} kills, {events} events, {expired} watches \
         expired; where nothing was killed, {CLIENTS} clients did {:.0} writes/s beside as many reads and refusals",
        written as f64 / busy.as_secs_f64()
    );
}
