//! Other names: from the upstreams, with a cache between.

use std::time::{Duration, Instant};

use agent_dns::message::{Name, Query};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::lab::{ADDRESS, Lab, addresses, alone, dig};
use crate::upstream::Upstream;

#[test]
fn other_names_are_asked_upstream_once_and_kept() {
    alone(|| async {
        let upstream = Upstream::start("127.0.0.2", 1).await;
        let lab = Lab::start(&["127.0.0.2"]);
        for name in ["www.example", "WWW.Example", "www.example"] {
            let reply = dig(&format!("{name} A")).await;
            assert_eq!(addresses(&reply), ["192.0.2.1"], "{}", reply.text);
            assert!(!reply.flags.contains(&"aa".to_owned()));
        }
        for _ in 0..2 {
            let reply = dig("none.example A").await;
            assert_eq!((reply.status.as_str(), reply.authorities.len()), ("NXDOMAIN", 1), "{}", reply.text);
        }
        assert_eq!(upstream.asked(), ["udp www.example.", "udp none.example."]);
        assert_eq!((lab.dns.metrics().cache_hits, lab.dns.metrics().forwarded), (3, 2));
    });
}

#[test]
fn one_question_of_many_clients_is_asked_once() {
    alone(|| async {
        let upstream = Upstream::start("127.0.0.2", 1).await;
        let _lab = Lab::start(&["127.0.0.2"]);
        let digs: Vec<_> = (0..8).map(|_| tokio::spawn(dig("silent.example A"))).collect();
        for dig in digs {
            assert_eq!(dig.await.expect("ran").status, "SERVFAIL");
        }
        assert!(upstream.asked().len() <= 4, "{:?}", upstream.asked());
    });
}

#[test]
fn the_next_upstream_is_asked_where_one_is_silent_or_fails_and_the_good_one_first_for_a_while() {
    alone(|| async {
        let failing = Upstream::start("127.0.0.2", 1).await;
        let good = Upstream::start("127.0.0.3", 7).await;
        let lab = Lab::start(&["127.0.0.9", "127.0.0.2", "127.0.0.3"]);
        assert_eq!(addresses(&dig("fail.example A").await), ["192.0.2.7"]);
        let before = failing.asked().len();
        assert_eq!(addresses(&dig("www.example A").await), ["192.0.2.7"]);
        assert_eq!((before, failing.asked().len(), good.asked().len()), (1, 1, 2));
        lab.name_upstreams(&["127.0.0.2"]);
        assert_eq!(dig("fail.example A").await.status, "NOERROR", "it is still kept");
        assert_eq!(addresses(&dig("new.example A").await), ["192.0.2.1"]);
        assert_eq!(dig("fail.example A").await.status, "SERVFAIL", "others may know other names");
    });
}

#[test]
fn an_answer_cut_by_udp_is_fetched_by_tcp_and_old_servers_are_asked_without_edns() {
    alone(|| async {
        let upstream = Upstream::start("127.0.0.2", 1).await;
        let _lab = Lab::start(&["127.0.0.2"]);
        let reply = dig("big.example A").await;
        assert_eq!(reply.answers.len(), 200, "{}", reply.text);
        assert_eq!(addresses(&dig("old.example A").await), ["192.0.2.1"]);
        let asked = upstream.asked();
        assert_eq!(asked, ["udp big.example.", "tcp big.example.", "udp old.example.", "udp old.example."]);
    });
}

#[test]
fn answers_to_another_question_are_not_believed() {
    alone(|| async {
        let _upstream = Upstream::start("127.0.0.2", 1).await;
        let _lab = Lab::start(&["127.0.0.2"]);
        assert_eq!(addresses(&dig("forged.example A").await), ["192.0.2.1"]);
    });
}

#[test]
fn an_external_name_outside_is_asked_upstream() {
    alone(|| async {
        let _upstream = Upstream::start("127.0.0.2", 1).await;
        let lab = Lab::start(&["127.0.0.2"]);
        lab.service("alias", json!({"type": "ExternalName", "externalName": "www.example"}));
        for _ in 0..2 {
            let reply = dig("alias.default.svc.cluster.local A").await;
            let name = "alias.default.svc.cluster.local. 5 IN CNAME www.example.";
            assert_eq!(reply.answers[0], name, "{}", reply.text);
            assert_eq!(addresses(&reply), ["192.0.2.1"]);
        }
        assert_eq!(lab.dns.metrics().forwarded, 1);
    });
}

#[test]
fn we_are_not_our_own_upstream_and_nobody_waits_long_for_nothing() {
    alone(|| async {
        let lab = Lab::start(&[ADDRESS, "10.43.0.10"]);
        // Asked itself, it would be asked more than once.
        assert_eq!(dig("www.example A").await.status, "SERVFAIL");
        assert_eq!(lab.dns.metrics().queries_udp, 1);
        lab.name_upstreams(&["127.0.0.9"]);
        let start = Instant::now();
        assert_eq!(dig("www.example A").await.status, "SERVFAIL");
        assert!(start.elapsed() < Duration::from_secs(20));
    });
}

#[test]
fn queries_of_one_connection_do_not_wait_for_each_other() {
    alone(|| async {
        let _upstream = Upstream::start("127.0.0.2", 1).await;
        let _lab = Lab::start(&["127.0.0.2"]);
        let mut stream = TcpStream::connect((ADDRESS, 53)).await.expect("is connected");
        let framed = |id: u16, name: &str| {
            let name = Name::parse(name).expect("a name");
            let message = Query { id, flags: 0x0100, name, kind: 1, class: 1, edns: None }.write(id, false);
            [u16::try_from(message.len()).expect("short").to_be_bytes().as_slice(), &message].concat()
        };
        let all = [framed(1, "silent.example"), framed(2, "www.example"), framed(3, "cluster.local")].concat();
        stream.write_all(&all).await.expect("is sent");
        stream.shutdown().await.expect("is half closed");
        let mut ids = Vec::new();
        for _ in 0..3 {
            let length = stream.read_u16().await.expect("is answered");
            let mut message = vec![0; usize::from(length)];
            stream.read_exact(&mut message).await.expect("is answered");
            ids.push(message[1]);
        }
        assert_eq!(ids, [3, 2, 1]);
    });
}

#[test]
fn a_connection_that_says_nonsense_is_closed() {
    alone(|| async {
        let _lab = Lab::start(&[]);
        let mut stream = TcpStream::connect((ADDRESS, 53)).await.expect("is connected");
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("is sent");
        let closed = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut [0; 16])).await.expect("in time");
        assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    });
}
