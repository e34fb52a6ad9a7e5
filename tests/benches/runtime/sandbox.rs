//! A pod's sandbox: namespaces, cgroup, shim; and their end.

use std::time::Instant;

use anyhow::Result;

use crate::node::Node;
use crate::samples::Samples;
use crate::table::{Row, Table, Unit};

const OTHER_POD: &str = "99999999-8888-7777-6666-555555555555";

pub async fn measure(node: &Node, rounds: usize, table: &mut Table) -> Result<()> {
    let (mut made, mut removed, mut both) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..rounds {
        let begun = Instant::now();
        node.runtime.create_sandbox(node.sandbox(OTHER_POD)).await?;
        let there = begun.elapsed();
        node.runtime.remove_sandbox(OTHER_POD).await?;
        made.add(there);
        removed.add(begun.elapsed() - there);
        both.add(begun.elapsed());
    }
    let beside = format!("made {:.1} ms, removed {:.1} ms", made.percentile_ms(50), removed.percentile_ms(50));
    let what = format!("pod sandbox made and removed, p50 of {rounds}");
    table.push(Row::new(what, both.percentile_ms(50), Unit::Milliseconds).beside(beside));
    Ok(())
}
