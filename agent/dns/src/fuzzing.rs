//! Doors for the fuzz targets to the decoders of what others send.

use crate::message::writer::Writer;
use crate::message::{Answer, Edns, Name, Query, Section, TCP_BYTES_MAX, class, flag, kind, number};

/// A client's query; what can be read can be written and read again.
pub fn query(bytes: &[u8]) {
    if let Ok(query) = Query::read(bytes) {
        let again = Query::read(&query.write(query.id, query.edns.is_some())).expect("what we write is a query");
        assert_eq!((again.name, again.kind, again.class), (query.name, query.kind, query.class));
    }
}

/// An upstream's answer to the question that it contains; what is passed on can be read again.
pub fn answer(bytes: &[u8]) {
    let id = number(bytes, 0).unwrap_or(0);
    let (name, place) = Name::read(bytes, 12).unwrap_or((Name::root(), 12));
    let kind = number(bytes, place).unwrap_or(kind::A);
    let class = number(bytes, place + 2).unwrap_or(class::IN);
    let edns = Some(Edns { udp_bytes: 1232, dnssec: true });
    let query = Query { id, flags: flag::RECURSION_DESIRED, name, kind, class, edns };
    let Ok(answer) = Answer::read(bytes, &query, id) else { return };
    let mut writer = Writer::new(&query, 0, answer.rcode, TCP_BYTES_MAX);
    for record in &answer.answers {
        if !writer.push(Section::Answer, record, record.ttl_seconds) {
            return;
        }
    }
    let again = Answer::read(&writer.finish(), &query, id).expect("what we write is an answer");
    assert_eq!(again.answers, answer.answers);
}
