//! `bramble`: the control plane and the command line. Reads arguments and hands over; no logic of its own.

mod config;
mod full_disk;
mod presence;
mod server;
mod signer;
mod token_file;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use control_cli::data_dir::DataDir;
use control_cli::{Arguments, Verb};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bramble: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    // Verbs that only ask a server leave no folder behind.
    let data = || DataDir::create(&arguments.data_dir);
    match &arguments.verb {
        Verb::Up(options) => {
            log_to_stderr(&arguments.log)?;
            control_cli::up::run(&data()?, options, &arguments.log)
        }
        Verb::Server(options) => {
            log_to_stderr(&arguments.log)?;
            server::run(&data()?, options)
        }
        Verb::Node { verb } => control_cli::node::run(&arguments.data_dir, verb),
        Verb::Card { verb } => control_cli::card::run(verb),
        Verb::Status => control_cli::status::run(&arguments.data_dir),
        Verb::Token { verb } => control_cli::token::run(&data()?, verb),
        Verb::Kubeconfig { merge } => control_cli::kubeconfig::run(&data()?, *merge),
    }
}

/// Lines on stderr, coloured only on a terminal.
fn log_to_stderr(level: &str) -> Result<()> {
    use std::io::IsTerminal;
    let targets: tracing_subscriber::filter::Targets =
        level.parse().with_context(|| format!("--log {level}: not a level such as info or debug"))?;
    // A log on a full disk loses lines; to say so on the same stderr would be a panic.
    let lines = tracing_subscriber::fmt::layer()
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(true);
    tracing_subscriber::registry().with(lines).with(targets).init();
    Ok(())
}
