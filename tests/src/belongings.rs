//! What a cluster holds of its machine, counted: what pods took must be given back when they go.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::cluster::Cluster;
use crate::process::Processes;

/// Names of what there is, by kind; compared as sets, so that a difference names what leaked.
pub type Belongings = BTreeMap<&'static str, BTreeSet<String>>;

/// Below the data folder, what changes for reasons of its own or is a pool that keeps what it has.
const NOT_COUNTED: [&str; 8] = [
    "store",
    "images",
    // What every node is told.
    "agent/cache/endpointslices",
    "agent/cache/namespaces",
    "agent/cache/nodes",
    "agent/cache/services",
    "agent/cache/networkpolicies",
    "agent/cache/persistentvolumes",
];
const CGROUPS: &str = "/sys/fs/cgroup";

/// Counts while the cluster runs.
pub fn count(cluster: &Cluster) -> Belongings {
    let data = cluster.data();
    let mut found = Belongings::new();
    found.insert("processes", processes(&data));
    found.insert("mounts", mounts(cluster, &data));
    found.insert("cgroups", cgroups(cluster));
    let links = cluster.namespace.ip("-o link");
    let link_name = |line: &str| line.split(": ").nth(1).map(str::to_owned);
    found.insert("links", links.lines().filter_map(link_name).collect());
    let mut files = BTreeSet::new();
    walk(&data, &data, &mut files);
    found.insert("files", files);
    let rules = cluster.namespace.sh("nft -s list ruleset").out;
    // Elements have no order, so each stands for itself.
    let words =
        rules.split(['\n', ',']).map(|word| word.trim().trim_start_matches("elements = {").trim_end_matches('}'));
    found.insert("rules", numbered(words.map(|word| word.trim().to_owned()).filter(|word| !word.is_empty())));
    found
}

/// What is in `after` and not in `before`, a line each; empty where nothing leaked.
pub fn leaked(before: &Belongings, after: &Belongings) -> Vec<String> {
    let none = BTreeSet::new();
    let new = after.iter().flat_map(|(kind, names)| {
        let old = before.get(kind).unwrap_or(&none);
        names.difference(old).map(move |name| format!("{kind}: {name}"))
    });
    new.collect()
}

/// Equal names are told apart by their number, so that a set counts them.
fn numbered(names: impl Iterator<Item = String>) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let number = |name: String| {
        let count = seen.entry(name.clone()).or_default();
        *count += 1;
        format!("{name} #{count}")
    };
    names.map(number).collect()
}

fn processes(data: &Path) -> BTreeSet<String> {
    let all = Processes::now();
    let data = data.display().to_string();
    let ours = all.iter().filter(|(pid, process)| process.arguments.contains(&data) || all.descends(**pid, &data));
    numbered(ours.map(|(_, process)| process.name.clone()))
}

fn mounts(cluster: &Cluster, data: &Path) -> BTreeSet<String> {
    // Where there is no agent at the moment, what this process sees is as good.
    let pid = cluster.pid("agent").map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let text = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    let data = data.display().to_string();
    numbered(
        text.lines().filter_map(|line| line.split(' ').nth(4)).filter(|at| at.starts_with(&data)).map(str::to_owned),
    )
}

/// Those below the parent that this node's key names.
fn cgroups(cluster: &Cluster) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let Some(parent) = cluster.cgroup_parent() else { return found };
    for root in [CGROUPS.into(), format!("{CGROUPS}/memory"), format!("{CGROUPS}/pids"), format!("{CGROUPS}/unified")] {
        folders(&Path::new(&root).join(&parent), &mut found);
    }
    found
}

fn folders(folder: &Path, found: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    found.insert(folder.display().to_string());
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        folders(&entry.path(), found);
    }
}

fn walk(data: &Path, folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        // A volume's content has a new name whenever it is renewed.
        let name = path.strip_prefix(data).expect("found below the data folder").display().to_string();
        if NOT_COUNTED.iter().any(|except| name.starts_with(except)) || name.ends_with(".new") || name.contains("/..") {
            continue;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(data, &path, found);
        }
        found.insert(name);
    }
}
