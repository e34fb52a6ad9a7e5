//! A container's whole life in a sandbox that is there: create, start, its end, delete.

use std::time::Instant;

use anyhow::Result;

use crate::node::Node;
use crate::peer::Peers;
use crate::sides::Sides;
use crate::table::Table;

pub async fn measure(node: &mut Node, peers: &Peers, rounds: usize, table: &mut Table) -> Result<()> {
    let mut sides = Sides::default();
    for round in 0..=rounds {
        let begun = Instant::now();
        node.run_to_end(&format!("true-{round}")).await?;
        let ours = begun.elapsed();
        let [crun, runc] = peers.run_to_end().await?;
        // The first has every program still to be read.
        if round > 0 {
            sides.add([ours, crun, runc]);
        }
    }
    sides.show(&format!("container of `true`, create to deleted, {rounds} times"), 50, table);
    Ok(())
}
