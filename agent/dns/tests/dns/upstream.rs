//! A small upstream, which behaves as its questions' names ask.

use std::sync::{Arc, Mutex};

use agent_dns::message::writer::Writer;
use agent_dns::message::{Name, Query, Record, Section, flag, rcode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

/// Ends with its runtime.
pub struct Upstream {
    asked: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    /// On port 53 of `address`; `last` is the last number of all addresses that it tells.
    pub async fn start(address: &str, last: u8) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let udp = Arc::new(UdpSocket::bind((address, 53)).await.expect("is bound"));
        let tcp = TcpListener::bind((address, 53)).await.expect("is bound");
        let heard = asked.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 2048];
            loop {
                let (length, client) = udp.recv_from(&mut buffer).await.expect("is heard");
                let message = buffer[..length].to_vec();
                let query = Query::read(&message).expect("a query");
                heard.lock().expect("whole").push(format!("udp {}", query.name));
                let (udp, label) = (udp.clone(), query.name.lower().remove(0));
                tokio::spawn(async move {
                    for answer in answers(&query, &label, false, last) {
                        udp.send_to(&answer, client).await.expect("is sent");
                    }
                });
            }
        });
        let heard = asked.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.expect("is accepted");
                let length = usize::from(stream.read_u16().await.expect("a length"));
                let mut message = vec![0; length];
                stream.read_exact(&mut message).await.expect("a query");
                let query = Query::read(&message).expect("a query");
                heard.lock().expect("whole").push(format!("tcp {}", query.name));
                for answer in answers(&query, &query.name.lower()[0], true, last) {
                    stream.write_u16(u16::try_from(answer.len()).expect("short")).await.expect("is sent");
                    stream.write_all(&answer).await.expect("is sent");
                }
            }
        });
        Self { asked }
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("whole").clone()
    }
}

fn answers(query: &Query, label: &str, tcp: bool, last: u8) -> Vec<Vec<u8>> {
    let address = |n: u8| Record::address(&query.name, 60, [192, 0, n, last].into());
    let with = |query: &Query, records: &[Record], flags, code| {
        let mut writer = Writer::new(query, flags, code, 65_535);
        for record in records {
            writer.push(Section::Answer, record, record.ttl_seconds);
        }
        writer.finish()
    };
    let good = with(query, &[address(2)], 0, rcode::NO_ERROR);
    match label {
        "silent" => Vec::new(),
        "none" => {
            let zone = Name::parse("example").expect("a name");
            let authority = Record::authority(&zone, 30, zone.clone(), zone.clone(), 1);
            let mut writer = Writer::new(query, 0, rcode::NO_SUCH_NAME, 65_535);
            writer.push(Section::Authority, &authority, 30);
            vec![writer.finish()]
        }
        "fail" if last == 1 => vec![with(query, &[], 0, rcode::SERVER_FAILURE)],
        "old" if query.edns.is_some() => vec![with(query, &[], 0, rcode::FORMAT_ERROR)],
        "big" if !tcp => vec![with(query, &[], flag::TRUNCATED, rcode::NO_ERROR)],
        "big" => vec![with(query, &(0..200).map(address).collect::<Vec<_>>(), 0, rcode::NO_ERROR)],
        "forged" => {
            let other = Query { id: query.id.wrapping_add(1), ..query.clone() };
            let elsewhere = Query { name: Name::parse("bank.example").expect("a name"), ..query.clone() };
            let lie = [Record::address(&query.name, 60, [6, 6, 6, 6].into())];
            vec![with(&other, &lie, 0, 0), with(&elsewhere, &lie, 0, 0), vec![1, 2, 3], good]
        }
        _ => vec![good],
    }
}
