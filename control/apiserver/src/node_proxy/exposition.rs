//! `/metrics/resource` and `/metrics/cadvisor` in Prometheus' text format, with the names that charts and dashboards ask for.

use std::fmt::Write;

use control_api::usage::{ContainerUsage, NodeUsage, PodUsage, Usage};

/// One metric's lines.
struct Metric<'a> {
    text: &'a mut String,
    name: &'a str,
    /// Milliseconds since 1970, behind each sample.
    time_ms: i64,
}

impl<'a> Metric<'a> {
    fn new(text: &'a mut String, name: &'a str, kind: &str, help: &str, time_ms: i64) -> Self {
        // Writing to a String does not fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Self { text, name, time_ms }
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.text.push_str(self.name);
        for (index, (label, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{}{label}=\"{value}\"", if index == 0 { '{' } else { ',' });
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {value} {}", self.time_ms);
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn start(ms: i64) -> f64 {
    ms as f64 / 1e3
}

fn containers(told: &NodeUsage) -> impl Iterator<Item = (&PodUsage, &ContainerUsage)> {
    told.pods.iter().flat_map(|pod| pod.containers.iter().map(move |container| (pod, container)))
}

/// What a metrics-server reads.
pub fn resource(told: &NodeUsage) -> String {
    let mut text = String::new();
    let mut new = |name: &str, kind: &str, help: &str, of: &dyn Fn(&mut Metric<'_>)| {
        of(&mut Metric::new(&mut text, name, kind, help, told.time_ms));
    };
    let container = |metric: &mut Metric<'_>, value: &dyn Fn(&ContainerUsage) -> f64| {
        for (pod, container) in containers(told) {
            let labels = [("container", &*container.name), ("namespace", &*pod.namespace), ("pod", &*pod.name)];
            metric.sample(&labels, value(container));
        }
    };
    let pod = |metric: &mut Metric<'_>, value: &dyn Fn(&PodUsage) -> f64| {
        for pod in &told.pods {
            metric.sample(&[("namespace", &*pod.namespace), ("pod", &*pod.name)], value(pod));
        }
    };
    let cpu = "Cumulative cpu time consumed in core-seconds";
    let memory = "Current working set in bytes";
    new("container_cpu_usage_seconds_total", "counter", cpu, &|m| container(m, &|c| seconds(c.usage.cpu_ns)));
    new("container_memory_working_set_bytes", "gauge", memory, &|m| {
        container(m, &|c| c.usage.memory_working_set_bytes as f64);
    });
    let since = "Start time since unix epoch in seconds";
    new("container_start_time_seconds", "gauge", since, &|m| container(m, &|c| start(c.started_ms)));
    new("node_cpu_usage_seconds_total", "counter", cpu, &|m| m.sample(&[], seconds(told.usage.cpu_ns)));
    new("node_memory_working_set_bytes", "gauge", memory, &|m| m.sample(&[], told.usage.memory_working_set_bytes));
    new("pod_cpu_usage_seconds_total", "counter", cpu, &|m| pod(m, &|p| seconds(p.usage.cpu_ns)));
    new("pod_memory_working_set_bytes", "gauge", memory, &|m| pod(m, &|p| p.usage.memory_working_set_bytes as f64));
    new(
        "resource_scrape_error",
        "gauge",
        "1 if there was an error while getting container metrics, 0 otherwise",
        &|m| {
            m.sample(&[], 0);
        },
    );
    text
}

/// What cAdvisor tells, of the figures that are read here.
pub fn cadvisor(told: &NodeUsage) -> String {
    let mut text = String::new();
    type Read = fn(&Usage) -> f64;
    let figures: [(&str, &str, &str, Read); 5] = [
        ("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds.", |usage| {
            seconds(usage.cpu_ns)
        }),
        ("container_memory_usage_bytes", "gauge", "Current memory usage in bytes.", |u| u.memory_usage_bytes as f64),
        ("container_memory_working_set_bytes", "gauge", "Current working set in bytes.", |usage| {
            usage.memory_working_set_bytes as f64
        }),
        ("container_memory_rss", "gauge", "Size of RSS in bytes.", |usage| usage.memory_rss_bytes as f64),
        ("container_processes", "gauge", "Number of processes running inside the container.", |u| u.pids as f64),
    ];
    for (name, kind, help, read) in figures {
        let mut metric = Metric::new(&mut text, name, kind, help, told.time_ms);
        every(told, |labels, usage, _| metric.sample(labels, read(usage)));
    }
    let help = "Start time of the container since unix epoch in seconds.";
    let mut metric = Metric::new(&mut text, "container_start_time_seconds", "gauge", help, told.time_ms);
    every(told, |labels, _, started_ms| metric.sample(labels, start(started_ms)));
    network(told, &mut text);
    let machine = "Amount of memory installed on the machine.";
    let mut metric = Metric::new(&mut text, "machine_memory_bytes", "gauge", machine, told.time_ms);
    metric.sample(&[], told.memory_capacity_bytes);
    text
}

/// The machine (`id="/"`), pods (no container) and containers, with cAdvisor's labels.
fn every(told: &NodeUsage, mut take: impl FnMut(&[(&str, &str)], &Usage, i64)) {
    take(
        &[("container", ""), ("id", "/"), ("image", ""), ("name", ""), ("namespace", ""), ("pod", "")],
        &told.usage,
        told.booted_ms,
    );
    for pod in &told.pods {
        let id = format!("/pod{}", pod.uid);
        let ends = [("namespace", &*pod.namespace), ("pod", &*pod.name)];
        let labels = [("container", ""), ("id", &*id), ("image", ""), ("name", ""), ends[0], ends[1]];
        take(&labels, &pod.usage, pod.started_ms);
        for container in &pod.containers {
            let id = format!("/pod{}/{}", pod.uid, container.id);
            let labels = [
                ("container", &*container.name),
                ("id", &*id),
                ("image", &*container.image),
                ("name", &*container.id),
                ends[0],
                ends[1],
            ];
            take(&labels, &container.usage, container.started_ms);
        }
    }
}

fn network(told: &NodeUsage, text: &mut String) {
    type Read = fn(&control_api::usage::Network) -> u64;
    let figures: [(&str, &str, Read); 4] = [
        ("container_network_receive_bytes_total", "Cumulative count of bytes received", |n| n.received_bytes),
        ("container_network_receive_errors_total", "Cumulative count of errors while receiving", |n| n.receive_errors),
        ("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", |n| n.sent_bytes),
        ("container_network_transmit_errors_total", "Cumulative count of errors while transmitting", |n| n.send_errors),
    ];
    for (name, help, read) in figures {
        let mut metric = Metric::new(text, name, "counter", help, told.time_ms);
        if let Some(network) = &told.network {
            metric.sample(
                &[("id", "/"), ("interface", &*network.interface), ("namespace", ""), ("pod", "")],
                read(network),
            );
        }
        for pod in &told.pods {
            let Some(network) = &pod.network else { continue };
            let id = format!("/pod{}", pod.uid);
            let ends = [("namespace", &*pod.namespace), ("pod", &*pod.name)];
            metric.sample(&[("id", &*id), ("interface", &*network.interface), ends[0], ends[1]], read(network));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_container_has_a_line_with_its_labels_quoted() {
        let usage = Usage { cpu_ns: 1_500_000_000, ..Usage::default() };
        let container = ContainerUsage { name: "main".to_owned(), usage, ..ContainerUsage::default() };
        let pod = PodUsage {
            namespace: "default".to_owned(),
            name: "we\"b".to_owned(),
            containers: vec![container],
            ..PodUsage::default()
        };
        let told = NodeUsage { time_ms: 9, pods: vec![pod], ..NodeUsage::default() };
        let line =
            "container_cpu_usage_seconds_total{container=\"main\",namespace=\"default\",pod=\"we\\\"b\"} 1.5 9\n";
        assert!(resource(&told).contains(line), "{}", resource(&told));
        assert!(cadvisor(&told).contains("container_memory_rss{container=\"\",id=\"/\","), "{}", cadvisor(&told));
        assert!(resource(&told).contains("\nresource_scrape_error 0 9\n"));
    }
}
