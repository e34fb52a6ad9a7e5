//! The cluster's own names, after the specification.

use agent_dns::{Config, Dns};
use serde_json::json;

use crate::lab::{Lab, addresses, alone, dig};

const SOA: &str = "cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local.";

fn filled() -> Lab {
    let lab = Lab::start(&[]);
    let ports =
        json!([{"name": "http", "port": 80, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"}]);
    lab.service("web", json!({"clusterIP": "10.43.0.9", "ports": ports}));
    lab.slice("web-1", "web", json!([{"name": "http", "port": 8080}]), json!([{"addresses": ["10.42.0.7"]}]));
    lab.service("db", json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]}));
    let endpoints = json!([
        {"addresses": ["10.42.0.5"], "hostname": "db-0", "conditions": {"ready": true}},
        {"addresses": ["10.42.0.6"], "conditions": {"ready": true}},
        {"addresses": ["10.42.0.8"], "hostname": "db-2", "conditions": {"ready": false}},
    ]);
    lab.slice("db-1", "db", json!([{"name": "sql", "port": 5432, "protocol": "TCP"}]), endpoints);
    lab
}

#[test]
fn a_service_has_its_address_srv_records_and_a_name_for_its_address() {
    alone(|| async {
        let _lab = filled();
        let reply = dig("web.default.svc.cluster.local A").await;
        assert_eq!(reply.answers, ["web.default.svc.cluster.local. 5 IN A 10.43.0.9"], "{}", reply.text);
        assert!(reply.flags.contains(&"aa".to_owned()) && reply.flags.contains(&"ra".to_owned()), "{}", reply.text);
        let reply = dig("_http._tcp.web.default.svc.cluster.local SRV").await;
        let name = "_http._tcp.web.default.svc.cluster.local.";
        assert_eq!(reply.answers, [format!("{name} 5 IN SRV 0 100 80 web.default.svc.cluster.local.")]);
        assert_eq!(reply.additionals, ["web.default.svc.cluster.local. 5 IN A 10.43.0.9"]);
        assert_eq!(dig("_dns._udp.web.default.svc.cluster.local SRV").await.answers.len(), 1);
        assert_eq!(dig("_http._udp.web.default.svc.cluster.local SRV").await.status, "NXDOMAIN");
        let reply = dig("-x 10.43.0.9").await;
        assert_eq!(reply.answers, ["9.0.43.10.in-addr.arpa. 5 IN PTR web.default.svc.cluster.local."]);
        // Endpoints of any Service have names.
        assert_eq!(addresses(&dig("10-42-0-7.web.default.svc.cluster.local A").await), ["10.42.0.7"]);
    });
}

#[test]
fn a_headless_service_is_its_ready_endpoints() {
    alone(|| async {
        let lab = filled();
        assert_eq!(addresses(&dig("db.default.svc.cluster.local A").await), ["10.42.0.5", "10.42.0.6"]);
        assert_eq!(addresses(&dig("db-0.db.default.svc.cluster.local A").await), ["10.42.0.5"]);
        assert_eq!(addresses(&dig("10-42-0-6.db.default.svc.cluster.local A").await), ["10.42.0.6"]);
        assert_eq!(dig("db-2.db.default.svc.cluster.local A").await.status, "NXDOMAIN");
        let mut reply = dig("_sql._tcp.db.default.svc.cluster.local SRV").await;
        reply.answers.sort();
        let name = "_sql._tcp.db.default.svc.cluster.local. 5 IN SRV 0 50 5432";
        let hosts = ["10-42-0-6", "db-0"].map(|host| format!("{name} {host}.db.default.svc.cluster.local."));
        assert_eq!(reply.answers, hosts);
        assert_eq!(reply.additionals.len(), 2, "{}", reply.text);
        let reply = dig("-x 10.42.0.5").await;
        assert_eq!(reply.answers, ["5.0.42.10.in-addr.arpa. 5 IN PTR db-0.db.default.svc.cluster.local."]);
        lab.dns.remove_slice("default", "db-1");
        assert_eq!(dig("db.default.svc.cluster.local A").await.status, "NXDOMAIN");
        assert_eq!(dig("-x 10.42.0.5").await.status, "NXDOMAIN");
        lab.dns.remove_service("default", "web");
        assert_eq!(dig("-x 10.43.0.9").await.status, "NXDOMAIN");
        assert_eq!(dig("web.default.svc.cluster.local A").await.status, "NXDOMAIN");
    });
}

#[test]
fn the_first_address_of_a_headless_service_changes_from_query_to_query() {
    alone(|| async {
        let _lab = filled();
        let mut firsts = std::collections::BTreeSet::new();
        for _ in 0..4 {
            firsts.insert(dig("db.default.svc.cluster.local A").await.answers.remove(0));
        }
        assert_eq!(firsts.len(), 2);
    });
}

#[test]
fn names_that_exist_without_such_records_are_told_from_names_that_do_not() {
    alone(|| async {
        let lab = filled();
        lab.dns.put_namespace("empty");
        let none = [
            "web.default.svc.cluster.local AAAA",
            "db.default.svc.cluster.local AAAA",
            "db-0.db.default.svc.cluster.local TXT",
            "default.svc.cluster.local A",
            "empty.svc.cluster.local A",
            "svc.cluster.local A",
            "pod.cluster.local A",
            "cluster.local A",
            "_tcp.web.default.svc.cluster.local A",
            "_http._tcp.web.default.svc.cluster.local A",
            "0.43.10.in-addr.arpa PTR",
        ];
        for question in none {
            let reply = dig(question).await;
            assert_eq!((reply.status.as_str(), reply.answers.len()), ("NOERROR", 0), "{}", reply.text);
            assert_eq!(reply.authorities.len(), 1, "{}", reply.text);
        }
        let nothing = [
            "nothing.default.svc.cluster.local A",
            "nothing.default.svc.cluster.local AAAA",
            "web.other.svc.cluster.local A",
            "other.svc.cluster.local A",
            "x.web.default.svc.cluster.local A",
            "_sctp.web.default.svc.cluster.local A",
            "a.b.c.web.default.svc.cluster.local A",
            "www.example.cluster.local A",
            "1-2-3.default.pod.cluster.local A",
            "1-2-3-4.other.pod.cluster.local A",
        ];
        for question in nothing {
            let reply = dig(question).await;
            assert_eq!(reply.status, "NXDOMAIN", "{}", reply.text);
            assert!(reply.authorities[0].starts_with(SOA), "{}", reply.text);
        }
        let reply = dig("-x 10.42.200.1").await;
        assert_eq!(reply.status, "NXDOMAIN");
        assert!(reply.authorities[0].starts_with("42.10.in-addr.arpa. 5 IN SOA"), "{}", reply.text);
    });
}

#[test]
fn the_domain_tells_about_itself_and_pods_have_names_of_their_addresses() {
    alone(|| async {
        let _lab = filled();
        let reply = dig("dns-version.cluster.local TXT").await;
        assert_eq!(reply.answers, ["dns-version.cluster.local. 5 IN TXT \"1.1.0\""]);
        assert!(dig("cluster.local SOA").await.answers[0].starts_with(SOA));
        assert_eq!(dig("cluster.local NS").await.answers, ["cluster.local. 5 IN NS ns.dns.cluster.local."]);
        assert_eq!(addresses(&dig("ns.dns.cluster.local A").await), ["127.0.0.1"]);
        assert_eq!(addresses(&dig("10-42-0-5.default.pod.cluster.local A").await), ["10.42.0.5"]);
    });
}

#[test]
fn case_does_not_matter_and_comes_back_as_it_was_asked() {
    alone(|| async {
        let _lab = filled();
        let reply = dig("WeB.DeFault.SVC.Cluster.Local A").await;
        assert_eq!(reply.answers, ["WeB.DeFault.SVC.Cluster.Local. 5 IN A 10.43.0.9"]);
        assert!(reply.text.contains(";WeB.DeFault.SVC.Cluster.Local."), "{}", reply.text);
    });
}

#[test]
fn an_external_name_inside_the_cluster_is_followed_and_circles_end() {
    alone(|| async {
        let lab = filled();
        let alias = |target: &str| json!({"type": "ExternalName", "externalName": target});
        lab.service("alias", alias("web.default.svc.cluster.local"));
        lab.service("one", alias("other.default.svc.cluster.local"));
        lab.service("other", alias("one.default.svc.cluster.local"));
        let reply = dig("alias.default.svc.cluster.local A").await;
        assert_eq!(
            reply.answers,
            [
                "alias.default.svc.cluster.local. 5 IN CNAME web.default.svc.cluster.local.",
                "web.default.svc.cluster.local. 5 IN A 10.43.0.9"
            ]
        );
        let reply = dig("alias.default.svc.cluster.local CNAME").await;
        assert_eq!(reply.answers.len(), 1, "{}", reply.text);
        let reply = dig("alias.default.svc.cluster.local AAAA").await;
        assert_eq!((reply.status.as_str(), reply.answers.len()), ("NOERROR", 1), "{}", reply.text);
        assert_eq!(dig("one.default.svc.cluster.local A").await.status, "SERVFAIL");
    });
}

#[test]
fn an_answer_too_large_for_udp_is_cut_and_comes_whole_by_tcp() {
    alone(|| async {
        let lab = filled();
        let endpoints: Vec<_> = (0..250).map(|n| json!({"addresses": [format!("10.42.9.{n}")]})).collect();
        lab.service("many", json!({"clusterIP": "None"}));
        lab.slice("many-1", "many", json!([]), json!(endpoints));
        let reply = dig("+ignore many.default.svc.cluster.local A").await;
        assert!(reply.flags.contains(&"tc".to_owned()), "{}", reply.text);
        assert!(reply.answers.len() > 60 && reply.answers.len() < 80, "{}", reply.answers.len());
        let reply = dig("+ignore +noedns many.default.svc.cluster.local A").await;
        assert!(reply.answers.len() > 20 && reply.answers.len() < 32, "{}", reply.answers.len());
        let reply = dig("many.default.svc.cluster.local A").await;
        assert_eq!(reply.answers.len(), 250);
        let reply = dig("+tcp +keepopen web.default.svc.cluster.local A db.default.svc.cluster.local A").await;
        assert!(reply.text.contains("10.43.0.9") && reply.text.contains("10.42.0.6"), "{}", reply.text);
    });
}

#[test]
fn what_is_not_served_is_refused() {
    alone(|| async {
        let _lab = filled();
        assert_eq!(dig("CH TXT version.bind").await.status, "REFUSED");
        assert_eq!(dig("+opcode=5 cluster.local").await.status, "NOTIMP");
        assert_eq!(dig("+edns=1 +noednsnegotiation web.default.svc.cluster.local").await.status, "BADVERS");
        assert!(dig("cluster.local AXFR").await.text.contains("Transfer failed"));
        // Nobody is named as an upstream.
        assert_eq!(dig("www.example.com A").await.status, "SERVFAIL");
    });
}

#[test]
fn it_listens_on_an_address_that_the_machine_gets_later() {
    alone(|| async {
        let dns = Dns::start(Config::default()).expect("starts");
        let add = std::process::Command::new("ip").args(["address", "add", "10.43.0.10/32", "dev", "lo"]).status();
        assert!(add.expect("ip runs").success());
        assert_eq!(addresses(&dig("@10.43.0.10 ns.dns.cluster.local A").await), ["10.43.0.10"]);
        assert_eq!(dns.metrics().local, 1);
    });
}
