//! The proxy's rules for five thousand Services: all of them at once, and one endpoint more or less.

use std::path::Path;
use std::time::Instant;

use agent_proxy::{Config, Proxy};
use anyhow::Result;
use control_api::view::core::Service;
use control_api::view::discovery::EndpointSlice;
use serde_json::json;
use tests::namespace::Namespace;

use crate::options::Options;
use crate::samples::Samples;
use crate::table::{Row, Table, Unit};

const ENDPOINTS: usize = 3;

pub async fn measure(options: Options, table: &mut Table) -> Result<()> {
    let namespace = Namespace::create();
    let config = Config {
        node: "be0c4000".to_owned(),
        node_name: "bench".to_owned(),
        cluster_range: "10.42.0.0/16".parse()?,
        service_range: "10.43.0.0/16".parse()?,
        local_services: Vec::new(),
        netns: Some(Path::new("/run/netns").join(namespace.name())),
    };
    let count = options.services;
    let objects: Vec<_> =
        (0..count).map(|number| Ok((service(number)?, slice(number, ENDPOINTS)?))).collect::<Result<_>>()?;
    let begun = Instant::now();
    let proxy = Proxy::start(config)?;
    for (service, slice) in &objects {
        proxy.put_service(service);
        proxy.put_slice(slice);
    }
    proxy.release();
    proxy.settled().await;
    let what = format!("{count} Services of {ENDPOINTS} endpoints, all rules from nothing");
    table.push(Row::new(what, begun.elapsed().as_secs_f64(), Unit::Seconds));
    let mut samples = Samples::default();
    for change in 0..options.changes {
        let number = change * 37 % count;
        let slice = slice(number, ENDPOINTS + 1 - change / count % 2)?;
        let begun = Instant::now();
        proxy.put_slice(&slice);
        proxy.settled().await;
        samples.add(begun.elapsed());
    }
    for percent in [50, 99] {
        let what = format!("one endpoint more among {count} Services, p{percent} of {}", options.changes);
        table.push(Row::new(what, samples.percentile_ms(percent), Unit::Milliseconds));
    }
    Ok(())
}

fn service(number: usize) -> Result<Service> {
    let address = format!("10.43.{}.{}", 1 + number / 250, 1 + number % 250);
    Ok(serde_json::from_value(json!({
        "metadata": {"name": format!("s{number}"), "namespace": "default"},
        "spec": {"clusterIP": address, "clusterIPs": [address], "ports": [{"port": 80, "protocol": "TCP"}]},
    }))?)
}

fn slice(number: usize, endpoints: usize) -> Result<EndpointSlice> {
    let address = |at: usize| format!("10.42.{}.{}", (number + at * 80) % 250, 1 + number / 250);
    let endpoints: Vec<_> =
        (0..endpoints).map(|at| json!({"addresses": [address(at)], "conditions": {"ready": true}})).collect();
    Ok(serde_json::from_value(json!({
        "metadata": {
            "name": format!("s{number}-1"), "namespace": "default",
            "labels": {"kubernetes.io/service-name": format!("s{number}")},
        },
        "addressType": "IPv4", "ports": [{"name": "", "port": 8080, "protocol": "TCP"}], "endpoints": endpoints,
    }))?)
}
