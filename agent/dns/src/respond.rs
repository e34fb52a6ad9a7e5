//! One query's way to its answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::cache::Kept;
use crate::forward::Forwarder;
use crate::message::writer::{self, Writer};
use crate::message::{Name, Query, Record, Refusal, Section, TCP_BYTES_MAX, UDP_BYTES_MIN, flag, kind, rcode};
use crate::metrics::{Counters, count};
use crate::zone::{Found, Zone};

/// Names that stand for names, in a row.
const ALIASES_MAX: usize = 8;

/// How a query came, and its answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// What became of a query.
#[derive(Debug)]
pub enum Step {
    Answer(Vec<u8>),
    /// An upstream is to be asked: by [`Responder::ask`], which takes its time.
    Ask(Box<Pending>),
    /// Nobody is told anything.
    Silence,
}

/// A query whose answer others know.
#[derive(Debug)]
pub struct Pending {
    query: Query,
    aliases: Vec<Record>,
    target: Name,
    bytes_max: usize,
}

/// What we know ourselves.
#[derive(Default)]
struct Local {
    rcode: u16,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    additionals: Vec<Record>,
}

enum Way {
    Known(Local),
    Elsewhere { aliases: Vec<Record>, target: Name },
}

/// Shared by all sockets.
#[derive(Debug)]
pub struct Responder {
    pub(crate) zone: RwLock<Zone>,
    forwarder: Arc<Forwarder>,
    pub(crate) counters: Arc<Counters>,
    turn: AtomicUsize,
}

impl Responder {
    pub(crate) fn new(zone: Zone, forwarder: Arc<Forwarder>, counters: Arc<Counters>) -> Self {
        Self { zone: RwLock::new(zone), forwarder, counters, turn: AtomicUsize::new(0) }
    }

    /// Answers at once what can be.
    pub fn respond(&self, message: &[u8], transport: Transport) -> Step {
        count(match transport {
            Transport::Udp => &self.counters.queries_udp,
            Transport::Tcp => &self.counters.queries_tcp,
        });
        let query = match Query::read(message) {
            Ok(query) => query,
            Err(Refusal::Silent) => {
                count(&self.counters.dropped);
                return Step::Silence;
            }
            Err(Refusal::Answer { id, flags, rcode, question }) => {
                return Step::Answer(match question {
                    Some(query) => Writer::new(&query, 0, rcode, UDP_BYTES_MIN).finish(),
                    None => writer::bare(id, flags, rcode),
                });
            }
        };
        let bytes_max = if transport == Transport::Udp { query.udp_bytes_max() } else { TCP_BYTES_MAX };
        match self.look(&query) {
            Way::Known(local) => {
                count(&self.counters.local);
                Step::Answer(write_local(&query, &local, bytes_max))
            }
            Way::Elsewhere { aliases, target } => {
                let pending = Pending { query, aliases, target, bytes_max };
                match self.forwarder.cached(&pending.question()) {
                    Some(kept) => Step::Answer(pending.write(&kept)),
                    None => Step::Ask(Box::new(pending)),
                }
            }
        }
    }

    /// Asks upstream.
    pub async fn ask(&self, pending: &Pending) -> Vec<u8> {
        let kept = self.forwarder.ask(&pending.question()).await;
        if kept.answer.rcode == rcode::SERVER_FAILURE {
            count(&self.counters.server_failures);
        }
        pending.write(&kept)
    }

    /// The answer to a query that there is no room to ask about.
    pub fn refuse(&self, pending: &Pending) -> Vec<u8> {
        count(&self.counters.dropped);
        Writer::new(&pending.query, 0, rcode::SERVER_FAILURE, UDP_BYTES_MIN).finish()
    }

    fn look(&self, query: &Query) -> Way {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let zone = self.zone.read().unwrap_or_else(PoisonError::into_inner);
        let (mut aliases, mut name): (Vec<Record>, Name) = (Vec::new(), query.name.clone());
        loop {
            let known = |rcode, authorities| Way::Known(Local { rcode, authorities, ..Local::default() });
            let mut way = match zone.find(&name, query.kind, turn) {
                Found::Elsewhere => return Way::Elsewhere { aliases, target: name },
                Found::Nothing(authority) => known(rcode::NO_SUCH_NAME, vec![authority]),
                Found::Empty(authority) => known(rcode::NO_ERROR, vec![authority]),
                Found::Records { answers, additionals } => {
                    Way::Known(Local { answers, additionals, ..Local::default() })
                }
                Found::Alias(record, target) => {
                    aliases.push(record);
                    if query.kind == kind::CNAME || query.kind == kind::ANY {
                        known(rcode::NO_ERROR, Vec::new())
                    } else if aliases.len() > ALIASES_MAX {
                        known(rcode::SERVER_FAILURE, Vec::new())
                    } else {
                        name = target;
                        continue;
                    }
                }
            };
            if let Way::Known(local) = &mut way {
                local.answers.splice(0..0, aliases);
            }
            return way;
        }
    }
}

impl Pending {
    /// The question for the upstream: about the name that the aliases lead to.
    fn question(&self) -> Query {
        Query { name: self.target.clone(), ..self.query.clone() }
    }

    fn write(&self, kept: &Kept) -> Vec<u8> {
        let answer = &kept.answer;
        let authentic = if answer.authentic && self.aliases.is_empty() { flag::AUTHENTIC } else { 0 };
        let mut writer = Writer::new(&self.query, authentic, answer.rcode, self.bytes_max);
        for record in &self.aliases {
            writer.push(Section::Answer, record, record.ttl_seconds);
        }
        write(writer, [&answer.answers, &answer.authorities, &answer.additionals], |record| kept.ttl_seconds(record))
    }
}

fn write_local(query: &Query, local: &Local, bytes_max: usize) -> Vec<u8> {
    let writer = Writer::new(query, flag::AUTHORITATIVE, local.rcode, bytes_max);
    write(writer, [&local.answers, &local.authorities, &local.additionals], |record| record.ttl_seconds)
}

/// As much as there is room for.
fn write(mut writer: Writer, sections: [&Vec<Record>; 3], ttl_seconds: impl Fn(&Record) -> u32) -> Vec<u8> {
    for (section, records) in [Section::Answer, Section::Authority, Section::Additional].into_iter().zip(sections) {
        if !records.iter().all(|record| writer.push(section, record, ttl_seconds(record))) {
            break;
        }
    }
    writer.finish()
}
