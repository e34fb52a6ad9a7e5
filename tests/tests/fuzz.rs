//! Every fuzz target for a moment: its committed seeds, and what comes of them by chance. `scripts/fuzz` takes its time.

// The doors of the decoders exist in builds with debug assertions only.
#![cfg(debug_assertions)]
#![allow(
    unused_attributes,
    unused_imports,
    dead_code,
    unreachable_pub,
    elided_lifetimes_in_paths,
    unused_must_use,
    missing_docs
)]
#![allow(clippy::all, clippy::pedantic, reason = "the targets are written for the fuzzer's own macro")]

// What the targets take for the fuzzer is this file, and its macro makes a plain function of each.
extern crate self as libfuzzer_sys;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long each target is tried beside its seeds; FUZZ_SECONDS makes it longer.
const TRIED_FOR: Duration = Duration::from_millis(700);
/// The longest input made up.
const INPUT_BYTES_MAX: usize = 4096;

/// Bytes that formats are made of.
const MARKS: &[u8] = b"{}[]\":,/.%\0\xff\n -09aA";

macro_rules! fuzz_target {
    (|$data:ident: $type:ty| $body:expr) => {
        pub fn fuzz_once(bytes: &[u8]) {
            let unstructured = arbitrary::Unstructured::new(bytes);
            let Ok($data) = <$type as arbitrary::Arbitrary>::arbitrary_take_rest(unstructured) else { return };
            $body
        }
    };
}
pub(crate) use fuzz_target;

#[path = "../fuzz/targets/account_token.rs"]
mod account_token;
#[path = "../fuzz/targets/address.rs"]
mod address;
#[path = "../fuzz/targets/archive.rs"]
mod archive;
#[path = "../fuzz/targets/arp.rs"]
mod arp;
#[path = "../fuzz/targets/body.rs"]
mod body;
#[path = "../fuzz/targets/card.rs"]
mod card;
#[path = "../fuzz/targets/certificate.rs"]
mod certificate;
#[path = "../fuzz/targets/challenge.rs"]
mod challenge;
#[path = "../fuzz/targets/config.rs"]
mod config;
#[path = "../fuzz/targets/discovery.rs"]
mod discovery;
#[path = "../fuzz/targets/dns_answer.rs"]
mod dns_answer;
#[path = "../fuzz/targets/dns_query.rs"]
mod dns_query;
#[path = "../fuzz/targets/frame.rs"]
mod frame;
#[path = "../fuzz/targets/heartbeat.rs"]
mod heartbeat;
#[path = "../fuzz/targets/layer.rs"]
mod layer;
#[path = "../fuzz/targets/line.rs"]
mod line;
#[path = "../fuzz/targets/manifest.rs"]
mod manifest;
#[path = "../fuzz/targets/netlink.rs"]
mod netlink;
#[path = "../fuzz/targets/patch.rs"]
mod patch;
#[path = "../fuzz/targets/pod.rs"]
mod pod;
#[path = "../fuzz/targets/probe.rs"]
mod probe;
#[path = "../fuzz/targets/quantity.rs"]
mod quantity;
#[path = "../fuzz/targets/query.rs"]
mod query;
#[path = "../fuzz/targets/reference.rs"]
mod reference;
#[path = "../fuzz/targets/request.rs"]
mod request;
#[path = "../fuzz/targets/seccomp.rs"]
mod seccomp;
#[path = "../fuzz/targets/selector.rs"]
mod selector;
#[path = "../fuzz/targets/shim.rs"]
mod shim;
#[path = "../fuzz/targets/spdy.rs"]
mod spdy;
#[path = "../fuzz/targets/token.rs"]
mod token;
#[path = "../fuzz/targets/user.rs"]
mod user;
#[path = "../fuzz/targets/websocket.rs"]
mod websocket;

/// xorshift64*: the same inputs in every run, so that what fails fails again.
struct Chance(u64);

impl Chance {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % below.max(1)
    }

    /// One seed with a few things done to it.
    fn mutate(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds[self.next(seeds.len())].clone();
        for _ in 0..=self.next(6) {
            let at = self.next(bytes.len() + 1);
            match self.next(7) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.next(8),
                1 if at < bytes.len() => bytes[at] = self.next(256) as u8,
                2 => bytes.truncate(at),
                3 => bytes.insert(at, MARKS[self.next(MARKS.len())]),
                4 if at < bytes.len() => {
                    let end = (at + 1 + self.next(16)).min(bytes.len());
                    bytes.drain(at..end);
                }
                5 if at < bytes.len() => {
                    let piece = bytes[at..(at + 1 + self.next(64)).min(bytes.len())].to_vec();
                    let to = self.next(bytes.len());
                    bytes.splice(to..to, piece);
                }
                _ => {
                    let other = &seeds[self.next(seeds.len())];
                    let from = self.next(other.len());
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[from.min(other.len())..]);
                }
            }
        }
        bytes.truncate(INPUT_BYTES_MAX);
        bytes
    }
}

fn try_out(name: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let mut seeds = vec![Vec::new(), vec![0xff; 64], (0..=255).cycle().take(1024).collect()];
    let mut paths: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    seeds.extend(paths.iter().map(|path| fs::read(path).expect("a seed can be read")));
    seeds.iter().for_each(|seed| run(seed));
    let (mut chance, started) = (Chance(0x9E37_79B9_7F4A_7C15), Instant::now());
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let tried_for = seconds.map_or(TRIED_FOR, Duration::from_secs);
    while started.elapsed() < tried_for {
        let input = chance.mutate(&seeds);
        if let Err(panic) = std::panic::catch_unwind(|| run(&input)) {
            let file = std::env::temp_dir().join(format!("bramble-fuzz-{name}"));
            fs::write(&file, &input).expect("the input can be kept");
            eprintln!("the input is in {}", file.display());
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn every_target_is_built_by_the_fuzzer_and_tried_here() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(here.join("Cargo.toml")).expect("the fuzzer's manifest");
    let mut found = 0;
    for entry in fs::read_dir(here.join("targets")).expect("the targets").flatten() {
        let name = entry.file_name().into_string().expect("a name").trim_end_matches(".rs").to_owned();
        assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name} is not in fuzz/Cargo.toml");
        assert!(TARGETS.contains(&name.as_str()), "{name} is not in this file's list");
        found += 1;
    }
    assert_eq!(found, TARGETS.len());
}

const TARGETS: &[&str] = &[
    "account_token",
    "address",
    "archive",
    "arp",
    "body",
    "card",
    "certificate",
    "challenge",
    "config",
    "discovery",
    "dns_answer",
    "dns_query",
    "frame",
    "heartbeat",
    "layer",
    "line",
    "manifest",
    "netlink",
    "patch",
    "pod",
    "probe",
    "quantity",
    "query",
    "reference",
    "request",
    "seccomp",
    "selector",
    "shim",
    "spdy",
    "token",
    "user",
    "websocket",
];

macro_rules! tried {
    ($($name:ident,)*) => {
        mod tried {
            $(
                #[test]
                fn $name() {
                    super::try_out(stringify!($name), super::$name::fuzz_once);
                }
            )*
        }
    };
}

tried! {
    account_token,
    address,
    archive,
    arp,
    body,
    card,
    certificate,
    challenge,
    config,
    discovery,
    dns_answer,
    dns_query,
    frame,
    heartbeat,
    layer,
    line,
    manifest,
    netlink,
    patch,
    pod,
    probe,
    quantity,
    query,
    reference,
    request,
    seccomp,
    selector,
    shim,
    spdy,
    token,
    user,
    websocket,
}
