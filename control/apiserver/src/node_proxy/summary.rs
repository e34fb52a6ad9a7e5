//! `/stats/summary`, the kubelet's `stats/v1alpha1`. What is not measured is left out, as a kubelet does.

use control_api::usage::{Disk, Network, NodeUsage, PodUsage, Usage};
use serde_json::{Map, Value, json};

use crate::measured::time;

pub fn render(node: &str, told: &NodeUsage) -> Value {
    let now = time(told.time_ms);
    let mut own = part(&now, told.booted_ms, &told.usage);
    own.insert("nodeName".to_owned(), json!(node));
    own["memory"]["availableBytes"] =
        json!(told.memory_capacity_bytes.saturating_sub(told.usage.memory_working_set_bytes));
    own.insert("fs".to_owned(), disk(&now, &told.disk));
    own.insert("runtime".to_owned(), json!({"imageFs": disk(&now, &told.disk)}));
    own.insert("rlimit".to_owned(), json!({"time": now, "curproc": told.usage.pids}));
    if let Some(network) = &told.network {
        own.insert("network".to_owned(), interface(&now, network));
    }
    let pods: Vec<Value> = told.pods.iter().map(|told| pod(&now, told)).collect();
    json!({"node": own, "pods": pods})
}

fn pod(now: &str, told: &PodUsage) -> Value {
    let mut own = part(now, told.started_ms, &told.usage);
    own.insert("podRef".to_owned(), json!({"name": told.name, "namespace": told.namespace, "uid": told.uid}));
    own.insert("process_stats".to_owned(), json!({"process_count": told.usage.pids}));
    if let Some(network) = &told.network {
        own.insert("network".to_owned(), interface(now, network));
    }
    let containers = told.containers.iter().map(|container| {
        let mut own = part(now, container.started_ms, &container.usage);
        own.insert("name".to_owned(), json!(container.name));
        Value::Object(own)
    });
    own.insert("containers".to_owned(), containers.collect());
    Value::Object(own)
}

fn part(now: &str, started_ms: i64, usage: &Usage) -> Map<String, Value> {
    let mut cpu = json!({"time": now, "usageCoreNanoSeconds": usage.cpu_ns});
    if let Some(nanocores) = usage.cpu_nanocores {
        cpu["usageNanoCores"] = json!(nanocores);
    }
    let memory = json!({
        "time": now, "usageBytes": usage.memory_usage_bytes, "workingSetBytes": usage.memory_working_set_bytes,
        "rssBytes": usage.memory_rss_bytes,
    });
    let mut own = Map::new();
    own.insert("startTime".to_owned(), json!(time(started_ms)));
    own.insert("cpu".to_owned(), cpu);
    own.insert("memory".to_owned(), memory);
    own
}

fn disk(now: &str, disk: &Disk) -> Value {
    json!({
        "time": now, "capacityBytes": disk.capacity_bytes, "availableBytes": disk.available_bytes,
        "usedBytes": disk.used_bytes, "inodes": disk.inodes, "inodesFree": disk.inodes_free,
        "inodesUsed": disk.inodes.saturating_sub(disk.inodes_free),
    })
}

fn interface(now: &str, network: &Network) -> Value {
    let figures = json!({
        "name": network.interface, "rxBytes": network.received_bytes, "rxErrors": network.receive_errors,
        "txBytes": network.sent_bytes, "txErrors": network.send_errors,
    });
    let mut own = figures.clone();
    own["time"] = json!(now);
    own["interfaces"] = json!([figures]);
    own
}

#[cfg(test)]
mod tests {
    use control_api::usage::ContainerUsage;

    use super::*;

    #[test]
    fn a_summary_has_the_names_of_a_kubelets() {
        let usage = Usage { cpu_ns: 5, cpu_nanocores: Some(7), memory_working_set_bytes: 40, ..Usage::default() };
        let container = ContainerUsage { name: "main".to_owned(), usage, ..ContainerUsage::default() };
        let pod = PodUsage { name: "web".to_owned(), containers: vec![container], ..PodUsage::default() };
        let told = NodeUsage { memory_capacity_bytes: 100, usage, pods: vec![pod], ..NodeUsage::default() };
        let value = render("pi", &told);
        assert_eq!(value["node"]["nodeName"], "pi");
        assert_eq!(value["node"]["memory"]["availableBytes"], 60);
        assert_eq!(value["pods"][0]["containers"][0]["cpu"]["usageNanoCores"], 7);
        assert_eq!(value["pods"][0]["podRef"]["name"], "web");
        assert_eq!(value["node"]["startTime"], "1970-01-01T00:00:00Z");
    }
}
