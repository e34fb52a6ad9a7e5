//! The command line, as clap reads it and as `--help` teaches it.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// A small Kubernetes for Raspberry Pis, ARM boards and whatever else is at hand.
#[derive(Debug, Parser)]
#[command(
    name = "bramble",
    version,
    after_help = "Start here:\n  bramble up                       one machine as a cluster\n  \
                  kubectl get nodes                with KUBECONFIG=/var/lib/bramble/kubeconfig, or:\n  \
                  bramble kubeconfig --merge       puts it where kubectl looks"
)]
pub struct Arguments {
    /// Where everything is kept.
    #[arg(long, global = true, value_name = "DIR", default_value = "/var/lib/bramble", env = "BRAMBLE_DATA_DIR")]
    pub data_dir: PathBuf,

    /// How much is logged: error, warn, info, debug or trace.
    #[arg(long, global = true, value_name = "LEVEL", default_value = "info", env = "BRAMBLE_LOG")]
    pub log: String,

    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Runs a whole cluster on this machine: the control plane and a node, in the foreground.
    Up(Up),
    /// Runs the control plane: the API on 6443/tcp, agents on 6443/udp.
    Server(Server),
    /// Join tokens: what a new node needs to be let in.
    Token {
        #[command(subcommand)]
        verb: Token,
    },
    /// Prints the administrator's kubeconfig.
    Kubeconfig {
        /// Adds it to KUBECONFIG or ~/.kube/config as context `bramble`, and makes that the current one.
        #[arg(long)]
        merge: bool,
    },
}

#[derive(Debug, clap::Args)]
pub struct Up {
    /// The server's configuration file, YAML.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The agent's configuration file, YAML.
    #[arg(long, value_name = "FILE")]
    pub agent_config: Option<PathBuf>,
    /// This machine's name as a node; its hostname by default.
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
}

#[derive(Debug, Clone, clap::Args)]
pub struct Server {
    /// The configuration file, YAML.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Ends when the program that started it does.
    #[arg(long, hide = true)]
    pub exit_with_parent: bool,
}

#[derive(Debug, Subcommand)]
pub enum Token {
    /// Makes a token and prints the line that starts an agent with it; the last line is the token alone.
    Create {
        /// How long it lets nodes in: 30m, 24h, 30d.
        #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = super::token::duration)]
        ttl: std::time::Duration,
        /// How many nodes it lets in.
        #[arg(long, value_name = "COUNT", default_value_t = 1)]
        uses: u32,
        /// An address that nodes reach this server at, HOST or HOST:PORT; this machine's own by default.
        #[arg(long, value_name = "ADDRESS")]
        address: Vec<String>,
    },
    /// Lists the tokens that still let nodes in.
    List,
    /// Ends a token, by its id.
    Revoke { id: String },
}
