//! Questions for others: asked of the upstreams in turn, the same question once, answers kept for a while.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::cache::{Cache, Kept, Key};
use crate::message::{Answer, Query, rcode};
use crate::metrics::{Counters, count};
use crate::resolv_conf::ResolvConf;

mod exchange;
mod preference;

use preference::Preference;

/// Different questions on their way at once; each takes a socket.
const FLIGHTS_MAX: usize = 256;
/// A client gives up after five seconds.
const FETCH_TIME_MAX: Duration = Duration::from_millis(4800);
/// Times that the whole list of upstreams is tried.
const ROUNDS_MAX: usize = 3;

type Flights = HashMap<Key, watch::Receiver<Option<Arc<Kept>>>>;

/// Shared by all sockets.
#[derive(Debug)]
pub struct Forwarder {
    resolv_conf: ResolvConf,
    cache: Mutex<Cache>,
    flights: Mutex<Flights>,
    preference: Preference,
    /// The list that cache and preference are of.
    upstreams: Mutex<Arc<Vec<SocketAddr>>>,
    counters: Arc<Counters>,
}

/// Takes the question off the list when it is answered or its task ends otherwise.
struct Flight {
    forwarder: Arc<Forwarder>,
    key: Key,
}

impl Drop for Flight {
    fn drop(&mut self) {
        lock(&self.forwarder.flights).remove(&self.key);
    }
}

impl Forwarder {
    pub(crate) fn new(resolv_conf: ResolvConf, counters: Arc<Counters>) -> Self {
        Self {
            resolv_conf,
            cache: Mutex::default(),
            flights: Mutex::default(),
            preference: Preference::default(),
            upstreams: Mutex::default(),
            counters,
        }
    }

    /// An answer that is there already.
    pub fn cached(&self, query: &Query) -> Option<Arc<Kept>> {
        let found = lock(&self.cache).get(&Key::of(query), Instant::now());
        if found.is_some() {
            count(&self.counters.cache_hits);
        }
        found
    }

    /// The answer to `query`; an error's code where nobody could tell.
    pub async fn ask(self: &Arc<Self>, query: &Query) -> Arc<Kept> {
        let failure = || Arc::new(Kept::new(Answer::of(rcode::SERVER_FAILURE)));
        let Some(mut answer) = self.fly(query) else { return failure() };
        let arrived = answer.wait_for(Option::is_some).await.map(|answer| answer.clone());
        arrived.ok().flatten().unwrap_or_else(failure)
    }

    /// Joins the question's flight, or starts one; none where too many are under way.
    fn fly(self: &Arc<Self>, query: &Query) -> Option<watch::Receiver<Option<Arc<Kept>>>> {
        let key = Key::of(query);
        let mut flights = lock(&self.flights);
        if let Some(flight) = flights.get(&key) {
            return Some(flight.clone());
        }
        if flights.len() >= FLIGHTS_MAX {
            return None;
        }
        let (landing, answer) = watch::channel(None);
        flights.insert(key.clone(), answer.clone());
        drop(flights);
        count(&self.counters.forwarded);
        let (forwarder, query) = (self.clone(), query.clone());
        tokio::spawn(async move {
            let flight = Flight { forwarder: forwarder.clone(), key };
            let fetched = tokio::time::timeout(FETCH_TIME_MAX, forwarder.fetch(&query)).await;
            let kept = Arc::new(Kept::new(fetched.unwrap_or_else(|_| Answer::of(rcode::SERVER_FAILURE))));
            lock(&forwarder.cache).put(flight.key.clone(), kept.clone());
            drop(flight);
            landing.send_replace(Some(kept));
        });
        Some(answer)
    }

    async fn fetch(&self, query: &Query) -> Answer {
        let upstreams = self.current();
        let mut last = Answer::of(rcode::SERVER_FAILURE);
        for _ in 0..ROUNDS_MAX {
            let first = self.preference.first(Instant::now());
            for step in 0..upstreams.len() {
                let place = (first + step) % upstreams.len();
                match exchange::exchange(upstreams[place], query).await {
                    Ok(answer) if [rcode::NO_ERROR, rcode::NO_SUCH_NAME].contains(&answer.rcode) => {
                        self.preference.answered(place, Instant::now());
                        return answer;
                    }
                    Ok(answer) => last = answer,
                    Err(error) => tracing::debug!(upstream = %upstreams[place], %error, "no answer"),
                }
            }
            // Whoever answered with an error would do it again.
            if last.rcode != rcode::SERVER_FAILURE {
                break;
            }
        }
        last
    }

    /// The upstreams as they are named now. Others may know other names: what the old ones said is forgotten.
    fn current(&self) -> Arc<Vec<SocketAddr>> {
        let upstreams = self.resolv_conf.upstreams();
        let mut known = lock(&self.upstreams);
        if *known != upstreams {
            *known = upstreams.clone();
            self.preference.forget();
            lock(&self.cache).clear();
        }
        upstreams
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
