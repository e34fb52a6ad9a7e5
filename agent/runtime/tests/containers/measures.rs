//! What a pod costs, in time and memory: run by name, with output shown.

use std::fs;
use std::time::{Duration, Instant};

use crate::node::{Node, POD};

const ROUNDS: u32 = 20;

#[tokio::test]
#[ignore = "a measurement"]
async fn a_pods_time_and_a_shims_memory() {
    let mut node = Node::start().await;
    let mut times = [Duration::ZERO; 5];
    for _ in 0..ROUNDS {
        let mut last = Instant::now();
        let mut lap = |slot: &mut Duration| {
            *slot += last.elapsed();
            last = Instant::now();
        };
        node.runtime.create_sandbox(node.sandbox()).await.unwrap();
        lap(&mut times[0]);
        node.runtime.create_container(POD, node.shell("one", "exec sleep 1000")).await.unwrap();
        lap(&mut times[1]);
        node.runtime.start(POD, "one").await.unwrap();
        lap(&mut times[2]);
        node.runtime.stop(POD, "one", 9, Duration::ZERO).await.unwrap();
        node.ended().await;
        lap(&mut times[3]);
        node.runtime.remove_sandbox(POD).await.unwrap();
        lap(&mut times[4]);
    }
    for (name, time) in ["create sandbox", "create container", "start", "kill", "remove sandbox"].iter().zip(times) {
        println!("{name:20} {:8.2} ms", time.as_secs_f64() * 1000.0 / f64::from(ROUNDS));
    }
    node.runtime.create_sandbox(node.sandbox()).await.unwrap();
    node.launch(node.shell("one", "exec sleep 1000")).await;
    let shim = node.runtime.list().await.unwrap()[0].sandbox.shim_pid;
    let rollup = fs::read_to_string(format!("/proc/{shim}/smaps_rollup")).unwrap();
    for line in rollup.lines().filter(|line| ["Rss:", "Pss:", "Private_D"].iter().any(|name| line.starts_with(name))) {
        println!("shim {line}");
    }
}
