//! From a pod's becoming ready, or ceasing to be, to every machine's sending a Service's connections there, or refusing
//! them: gate, agent, server, controllers, agents, kernel.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hyper::Method;
use serde_json::json;
use tests::lab::Lab;

use crate::client::Access;
use crate::options::Options;
use crate::samples::Samples;
use crate::table::{Row, Table, Unit};
use crate::traffic::{PORT, inside, joined, of_machine};

/// Between two looks of one machine; also the figure's error.
const LOOK: Duration = Duration::from_millis(2);
const WAIT_MAX: Duration = Duration::from_secs(20);

/// Looks until connections succeed, or until they are refused.
fn settle(target: SocketAddr, open: bool, since: Instant) -> Result<Duration> {
    loop {
        match TcpStream::connect_timeout(&target, WAIT_MAX) {
            Ok(_) if open => return Ok(since.elapsed()),
            Err(error) if !open && error.kind() == ErrorKind::ConnectionRefused => return Ok(since.elapsed()),
            _ if since.elapsed() > WAIT_MAX => bail!("{target} is not as it has to be within {} s", WAIT_MAX.as_secs()),
            _ => std::thread::sleep(LOOK),
        }
    }
}

/// The pod's gate decides; behind `cluster_ip` is this pod alone.
pub async fn measure(
    lab: &Lab,
    access: &Access,
    cluster_ip: Ipv4Addr,
    options: Options,
    table: &mut Table,
) -> Result<()> {
    let target = SocketAddr::from((cluster_ip, PORT));
    let mut connection = access.connect().await?;
    let mut samples = [Samples::default(), Samples::default()];
    for toggle in 0..2 * options.toggles {
        let open = toggle % 2 == 1;
        let status = json!({"status": {"conditions": [
            {"type": crate::GATE, "status": if open { "True" } else { "False" }},
        ]}});
        let begun = Instant::now();
        let looks: Vec<_> =
            lab.nodes.iter().map(|node| inside(&of_machine(node), move || settle(target, open, begun))).collect();
        connection.call(Method::PATCH, crate::TWO, status.to_string().into()).await?;
        let settled =
            tokio::task::spawn_blocking(|| looks.into_iter().map(joined).collect::<Result<Vec<_>>>()).await??;
        samples[usize::from(open)].add(settled.into_iter().max().unwrap_or_default());
    }
    let nodes = lab.nodes.len();
    for (what, mut samples) in ["refused", "served"].into_iter().zip(samples) {
        for percent in [50, 99] {
            let what = format!("readiness to {what} on all {nodes} machines, p{percent} of {}", options.toggles);
            let row = Row::new(what, samples.percentile_ms(percent), Unit::Milliseconds);
            table.push(if percent == 50 { row.at_most(100.0) } else { row });
        }
    }
    Ok(())
}
