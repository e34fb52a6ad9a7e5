//! `bramble-agent`: joins a cluster, keeps its pods running, and joins the agent's parts together.

mod adapters;
mod admin;
mod attach;
mod cache;
mod card;
mod checks;
mod cli;
mod clock;
mod config;
mod daemon;
mod desired;
mod doctor;
mod exec;
mod followers;
mod forward;
mod joining;
mod layout;
mod membership;
mod metrics;
mod offline;
mod outbox;
mod shortage;
mod state;
mod static_pods;
mod strays;
mod tokens;
mod uplink;
mod usage;
mod verbs;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // Before any thread exists: a shim or worker never gets past this line.
    agent_runtime::dispatch();
    let cli = cli::Cli::parse();
    // A supervisor that waits for signals on a descriptor leaves them blocked in its children.
    let _ = nix::sys::signal::SigSet::all().thread_unblock();
    match verbs::run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bramble-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}
