//! The mechanical rules of the code: dependency direction, single owners, sizes and names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const SCRIPT_LINES_MAX: usize = 60;

/// What each crate may use of the workspace, and nothing else.
const DIRECTION: &[(&str, &[&str])] = &[
    ("control-api", &[]),
    ("control-card", &[]),
    ("control-wire", &["control-api"]),
    ("control-pki", &["control-api", "control-wire"]),
    ("control-store", &["control-api"]),
    ("control-apiserver", &["control-api", "control-store", "control-pki"]),
    ("control-client", &["control-api", "control-store", "control-apiserver"]),
    (
        "control-nodes",
        &["control-api", "control-wire", "control-pki", "control-store", "control-apiserver", "control-client"],
    ),
    ("control-scheduler", &["control-api", "control-client"]),
    ("control-controllers", &["control-api", "control-client"]),
    ("control-cli", &["control-api", "control-card", "control-wire", "control-pki", "images"]),
    ("images", &[]),
    (
        "agent",
        &[
            "agent-announce",
            "agent-dns",
            "agent-network",
            "agent-oci",
            "agent-pods",
            "agent-proxy",
            "agent-runtime",
            "agent-streams",
            "agent-volumes",
            "control-api",
            "control-card",
            "control-wire",
        ],
    ),
    ("agent-announce", &["control-api"]),
    ("agent-dns", &["control-api", "control-wire"]),
    ("agent-nft", &[]),
    ("agent-network", &["agent-nft", "control-api", "control-wire"]),
    ("agent-proxy", &["agent-nft", "control-api", "control-wire"]),
    ("agent-oci", &["control-api", "control-wire"]),
    ("agent-pods", &["control-api", "control-wire"]),
    ("agent-runtime", &["control-api", "control-wire"]),
    ("agent-streams", &["control-api", "control-wire"]),
    ("agent-volumes", &["control-api", "control-wire"]),
];

/// Crates that only one of ours may depend on.
const OWNERS: &[(&str, &str)] = &[
    ("redb", "control-store"),
    ("quinn", "control-wire"),
    ("libcontainer", "agent-runtime"),
    ("libcgroups", "agent-runtime"),
    ("cgroups-rs", "agent-runtime"),
    ("netlink-bindings", "agent-nft"),
    ("rtnetlink", "agent-network"),
];

const BANNED: &[&str] = &["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls", "serde_yaml", "rustables"];

const UNSAFE_ALLOWED: &[&str] = &["agent/runtime", "agent/network", "agent/nft", "agent/proxy"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("folder is readable").flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
            files(&path, ending, found);
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
}

fn sources() -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    for folder in ["control", "agent", "images", "tests"] {
        if root.join(folder).exists() {
            files(&root.join(folder), ".rs", &mut found);
        }
    }
    let relative = |path: &Path| path.strip_prefix(&root).expect("found below the root").display().to_string();
    found.iter().map(|path| (relative(path), fs::read_to_string(path).expect("source is text"))).collect()
}

/// Dependencies of each package of the workspace, by package name; `[dev-dependencies]` apart.
fn manifests() -> BTreeMap<String, BTreeSet<String>> {
    let mut found = Vec::new();
    files(&root(), "Cargo.toml", &mut found);
    let mut packages = BTreeMap::new();
    for path in found {
        let text = fs::read_to_string(&path).expect("manifest is text");
        let (mut section, mut name, mut dependencies) = (String::new(), None, BTreeSet::new());
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                section = line.to_owned();
            } else if section == "[package]" && line.starts_with("name") {
                name = line.split('"').nth(1).map(str::to_owned);
            } else if section == "[dependencies]" && !line.is_empty() && !line.starts_with('#') {
                let end = line.find(['.', ' ', '=']).unwrap_or(line.len());
                dependencies.insert(line[..end].to_owned());
            }
        }
        if let Some(name) = name {
            packages.insert(name, dependencies);
        }
    }
    packages
}

/// Lines up to the unit tests at a file's end.
fn production(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"))
}

fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("tests.rs")
}

fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn crates_depend_only_downwards() {
    let packages = manifests();
    assert!(packages.len() > 15, "manifests were not found");
    let mut complaints = Vec::new();
    for (package, allowed) in DIRECTION {
        let Some(dependencies) = packages.get(*package) else { continue };
        for dependency in dependencies.iter().filter(|name| packages.contains_key(*name)) {
            if !allowed.contains(&dependency.as_str()) {
                complaints.push(format!("{package} may not use {dependency}"));
            }
        }
    }
    none(&complaints);
}

#[test]
fn each_heavy_library_has_one_owner() {
    let mut complaints = Vec::new();
    for (package, dependencies) in manifests() {
        for (library, owner) in OWNERS {
            if dependencies.contains(*library) && package != *owner {
                complaints.push(format!("{package} may not use {library}: {owner} owns it"));
            }
        }
    }
    none(&complaints);
}

#[test]
fn no_banned_crate_is_locked() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("there is a lock file");
    let locked: Vec<&str> =
        BANNED.iter().copied().filter(|name| lock.contains(&format!("name = \"{name}\"\n"))).collect();
    assert!(locked.is_empty(), "{locked:?}");
}

#[test]
fn files_are_small_and_named_for_what_they_hold() {
    let mut complaints = Vec::new();
    for (path, text) in sources() {
        let lines = production(&text).count();
        if lines > FILE_LINES_MAX && !is_test(&path) {
            complaints.push(format!("{path} has {lines} lines"));
        }
        let name = Path::new(&path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if ["utils", "util", "common", "helpers", "manager", "misc", "mod"].contains(&name) && !is_test(&path) {
            complaints.push(format!("{path} is named for nothing"));
        }
    }
    none(&complaints);
}

#[test]
fn functions_are_short() {
    let mut complaints = Vec::new();
    for (path, text) in sources() {
        let mut start: Option<(usize, usize, &str)> = None;
        for (number, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let words = line.trim_start();
            let is_function = ["fn ", "pub fn ", "async fn ", "pub async fn ", "pub(crate) fn ", "pub(super) fn "];
            if start.is_none() && is_function.iter().any(|word| words.starts_with(word)) && !words.ends_with([';', '}'])
            {
                start = Some((number, indent, words));
            }
            if let Some((first, depth, words)) = start
                && line == format!("{}}}", " ".repeat(depth))
            {
                if number - first > FUNCTION_LINES_MAX && !is_test(&path) {
                    complaints.push(format!("{path}:{} has {} lines: {words}", first + 1, number - first));
                }
                start = None;
            }
        }
    }
    none(&complaints);
}

#[test]
fn scripts_are_thin_doors() {
    let mut complaints = Vec::new();
    for entry in fs::read_dir(root().join("scripts")).expect("there are scripts").flatten() {
        let path = entry.path();
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let lines = text.lines().count();
        if text.starts_with("#!") && lines > SCRIPT_LINES_MAX && !text.starts_with("#!/usr/bin/env python3") {
            complaints.push(format!("{} has {lines} lines", path.display()));
        }
    }
    none(&complaints);
}

#[test]
fn unsafe_code_stays_where_it_must_be() {
    let mut complaints = Vec::new();
    for (path, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if !code.contains("unsafe {") && !code.contains("unsafe impl") && !code.contains("unsafe fn") {
                continue;
            }
            if !UNSAFE_ALLOWED.iter().any(|folder| path.starts_with(folder)) && !is_test(&path) {
                complaints.push(format!("{path}:{} is unsafe", number + 1));
            }
            let above = &lines[number.saturating_sub(6)..=number];
            if !above.iter().any(|line| line.contains("SAFETY:")) && !is_test(&path) {
                complaints.push(format!("{path}:{} says nothing of its SAFETY", number + 1));
            }
        }
    }
    none(&complaints);
}
