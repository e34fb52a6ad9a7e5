//! How many queries a second one core answers; a measurement, so it runs only when it is asked for.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use agent_dns::{Config, Dns};
use serde_json::json;

const SERVICES: usize = 5000;
/// Queries under way, so that neither side waits for the other.
const WINDOW: usize = 64;
const TIME: Duration = Duration::from_secs(3);

#[test]
#[ignore = "a measurement"]
fn queries_a_second_from_our_own_names() {
    let (sender, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let config = Config { listen: vec!["127.0.0.1:0".parse().expect("an address")], ..Config::default() };
            let dns = Dns::start(config).expect("starts");
            for number in 0..SERVICES {
                let address = format!("10.43.{}.{}", number / 250, number % 250);
                let object = json!({"metadata": {"name": format!("s{number}"), "namespace": "default"},
                    "spec": {"clusterIP": address}});
                dns.put_service(&serde_json::from_value(object).expect("a Service"));
            }
            sender.send(dns.addresses()[0]).expect("is heard");
            std::future::pending::<()>().await;
        });
    });
    let socket = UdpSocket::bind("127.0.0.1:0").expect("is bound");
    socket.connect(address.recv().expect("it started")).expect("is connected");
    socket.set_read_timeout(Some(Duration::from_secs(1))).expect("is set");
    let name = agent_dns::message::Name::parse("s4321.default.svc.cluster.local").expect("a name");
    let query = agent_dns::message::Query { id: 1, flags: 0x0100, name, kind: 1, class: 1, edns: None }.write(1, true);
    let (start, mut answered, mut buffer) = (Instant::now(), 0_u64, [0; 512]);
    for _ in 0..WINDOW {
        socket.send(&query).expect("is sent");
    }
    while start.elapsed() < TIME {
        let length = socket.recv(&mut buffer).expect("is answered");
        assert!(length > query.len());
        answered += 1;
        socket.send(&query).expect("is sent");
    }
    println!("{:.0} queries a second", answered as f64 / start.elapsed().as_secs_f64());
}
