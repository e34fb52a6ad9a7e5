//! From the start of a new agent with a token to its node's being Ready, one machine after the other.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tests::lab::Lab;

use crate::client::Access;
use crate::options::Options;
use crate::samples::Samples;
use crate::table::{Row, Table, Unit};

const WAIT_MAX: Duration = Duration::from_secs(30);

pub async fn measure(lab: &mut Lab, access: &Access, options: Options, table: &mut Table) -> Result<()> {
    let token = lab.token(&["--uses", &options.joins.to_string()]);
    let mut samples = Samples::default();
    for number in 0..options.joins {
        let name = format!("j{number}");
        let mut nodes = access.connect().await?.watch("/api/v1/nodes?watch=1").await?;
        let machine = lab.add_machine(&name, &format!("192.168.78.{}", 100 + number));
        let begun = Instant::now();
        machine.start_agent(&["--join", &token]);
        let ready = async {
            loop {
                let event = nodes.next().await?;
                let mut conditions = event["object"]["status"]["conditions"].as_array().into_iter().flatten();
                let ready = conditions.any(|found| found["type"] == "Ready" && found["status"] == "True");
                if ready && event["object"]["metadata"]["name"] == name.as_str() {
                    return anyhow::Ok(());
                }
            }
        };
        tokio::time::timeout(WAIT_MAX, ready).await.context("the node does not become Ready")??;
        samples.add(begun.elapsed());
    }
    let what = format!("a new machine's agent to Ready, p50 of {}", options.joins);
    let row = Row::new(what, samples.percentile_ms(50) / 1e3, Unit::Seconds).at_most(2.0);
    table.push(row.beside(format!("slowest {:.2} s", samples.percentile_ms(100) / 1e3)));
    Ok(())
}
