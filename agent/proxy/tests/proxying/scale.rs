//! Figures: `cargo nextest run -p agent-proxy --run-ignored only --no-capture scale`.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use agent_proxy::Proxy;
use control_api::view::discovery::EndpointSlice;

use crate::{
    objects::{WEB, port, ready, service, slice, web, with},
    site::{Asker, Site, connect, pod_address},
};

const SERVICES: u32 = 5000;
/// Over one connection.
const ASKED_MAX: usize = 10;
const SAMPLES: usize = 200;

fn address(n: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 43, 16, 0)) + n)
}

/// Three endpoints, of which `moved` says how many are others than usual.
fn endpoints(n: u32, moved: u8) -> EndpointSlice {
    let pod = |index: u8| {
        let mut endpoint = ready(0);
        let [_, _, high, low] = n.to_be_bytes();
        endpoint.addresses = vec![Ipv4Addr::new(10, 42, 128 + high, low.wrapping_add(index)).to_string()];
        endpoint.node_name = Some("there".into());
        endpoint
    };
    slice(&format!("s{n}"), (moved..moved + 3).map(pod).collect())
}

fn tell(proxy: &Proxy) {
    for n in 0..SERVICES {
        proxy.put_service(&service(&format!("s{n}"), address(n), vec![port("http", "TCP", 80)]));
        proxy.put_slice(&endpoints(n, 0));
    }
    let bulk = port("bulk", "TCP", 9090);
    proxy.put_service(&with(web(), |spec| spec.ports.as_mut().unwrap().push(bulk)));
    let mut web = slice("web", vec![ready(0)]);
    let mut port = web.ports.as_ref().unwrap()[0].clone();
    (port.name, port.port) = (Some("bulk".into()), Some(9090));
    web.ports.as_mut().unwrap().push(port);
    proxy.put_slice(&web);
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn percentile(samples: &mut [Duration], of: usize) -> Duration {
    samples.sort();
    samples[(samples.len() - 1) * of / 100]
}

/// The direct way and the way through the Service in turn, so that both see the same noise.
fn latencies(site: &Site, mut one: impl FnMut(Ipv4Addr, u16) -> Duration + Send + 'static) -> [Vec<Duration>; 2] {
    site.pods[1].inside(move || {
        let mut samples = [Vec::new(), Vec::new()];
        for _ in 0..1000 {
            for way in [0, 1, 1, 0] {
                let (address, port) = if way == 0 { (pod_address(0), 8080) } else { (WEB, 80) };
                samples[way].push(one(address, port));
            }
        }
        samples
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn five_thousand_services_are_built_and_changed_and_cost_packets_nothing() {
    let site = Site::new(3);
    let proxy = Proxy::start(site.config()).unwrap();
    let (before, start) = (resident_kib(), Instant::now());
    tell(&proxy);
    let told = start.elapsed();
    proxy.release();
    proxy.settled().await;
    println!("told in {told:?}, built in {:?}", start.elapsed() - told);
    println!("resident: {} KiB more", resident_kib() - before);
    drop(proxy);
    let proxy = Proxy::start(site.config()).unwrap();
    tell(&proxy);
    let start = Instant::now();
    proxy.release();
    proxy.settled().await;
    println!("taken over in {:?}", start.elapsed());
    let mut changes = Vec::new();
    for n in 0..SAMPLES {
        let changed = endpoints(u32::try_from(n).unwrap() * 7, 1);
        let start = Instant::now();
        proxy.put_slice(&changed);
        proxy.settled().await;
        changes.push(start.elapsed());
    }
    println!("one endpoint changed: p50 {:?} p99 {:?}", percentile(&mut changes, 50), percentile(&mut changes, 99));

    let [mut direct, mut through] = latencies(&site, |address, port| {
        let start = Instant::now();
        connect(address, port).unwrap();
        start.elapsed()
    });
    report("connect", &mut direct, &mut through);
    // New connections now and then, since which core a server's thread wakes on matters more than the way there.
    let mut kept: Vec<(Ipv4Addr, Asker)> = Vec::new();
    let [mut direct, mut through] = latencies(&site, move |address, port| {
        if kept.len() == 2 && address != WEB && kept[0].1.asked == ASKED_MAX {
            kept.clear();
        }
        if !kept.iter().any(|(at, _)| *at == address) {
            kept.push((address, connect(address, port).unwrap()));
        }
        let asker = &mut kept.iter_mut().find(|(at, _)| *at == address).unwrap().1;
        let start = Instant::now();
        asker.ask().unwrap();
        start.elapsed()
    });
    report("ask over a connection", &mut direct, &mut through);
    throughput(&site);
}

fn report(what: &str, direct: &mut [Duration], through: &mut [Duration]) {
    let [a, b] = [percentile(direct, 50), percentile(through, 50)];
    println!("{what}: direct p50 {a:?}, through the Service {b:?}, ratio {:.3}", a.as_secs_f64() / b.as_secs_f64());
}

/// Bytes that arrive at a pod in a second, directly and through the Service, in turn.
fn throughput(site: &Site) {
    use std::io::{Read, Write};
    let listener = site.pods[0].inside(|| std::net::TcpListener::bind("0.0.0.0:9090").unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut buffer = vec![0; 1 << 18];
            let mut total = 0;
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                total += count as u64;
            }
            let _ = stream.write_all(&total.to_be_bytes());
        }
    });
    let mut rates = [0.0, 0.0];
    for _ in 0..3 {
        for (rate, (address, port)) in rates.iter_mut().zip([(pod_address(0), 9090), (WEB, 9090)]) {
            *rate += site.pods[1].inside(move || {
                let mut stream = connect(address, port).unwrap().stream;
                let (start, buffer) = (Instant::now(), vec![0; 1 << 18]);
                while start.elapsed() < Duration::from_secs(1) {
                    stream.write_all(&buffer).unwrap();
                }
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                let mut total = [0; 8];
                stream.read_exact(&mut total).unwrap();
                u64::from_be_bytes(total) as f64 / start.elapsed().as_secs_f64()
            });
        }
    }
    println!(
        "throughput: direct {:.2} GB/s, through the Service {:.2} GB/s, ratio {:.3}",
        rates[0] / 3e9,
        rates[1] / 3e9,
        rates[1] / rates[0]
    );
}
