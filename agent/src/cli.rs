//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "bramble-agent", version, about = "Bramble's node agent")]
pub struct Cli {
    /// Where everything of this node is kept
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// error, warn, info, debug or trace
    #[arg(long, global = true, value_name = "LEVEL", default_value = "info")]
    pub log: tracing::level_filters::LevelFilter,
    #[command(flatten)]
    pub run: Run,
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

#[derive(Debug, Args)]
pub struct Run {
    /// The token that `bramble token create` printed; needed once
    #[arg(long, value_name = "TOKEN", env = "BRAMBLE_JOIN", hide_env_values = true)]
    pub join: Option<String>,
    /// A server to ask to be let in where there is no token: HOST:PORT. It waits there until `bramble node approve`
    #[arg(long, value_name = "ADDRESS")]
    pub server: Vec<String>,
    /// The cluster to ask, where several may answer: the first 16 digits or more of its CA's hash
    #[arg(long, value_name = "ID")]
    pub cluster: Option<String>,
    /// The node's name; the machine's host name by default
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// End with the program that started this one; pods go on
    #[arg(long, hide = true)]
    pub exit_with_parent: bool,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// End all pods with their grace, and remove their mounts, links, cgroups and rules
    Stop,
    /// Stop, and remove the node's data too
    Reset,
    /// Look at what this machine has and lacks for being a node; exit code 1 where something essential is missing
    Doctor,
    /// The node's images
    Image {
        #[command(subcommand)]
        verb: ImageVerb,
    },
    /// What a flashed card does with its bramble.toml; its units call these
    #[command(hide = true)]
    Card {
        #[command(subcommand)]
        verb: CardVerb,
        /// The folder that is taken for the machine's root
        #[arg(long, global = true, default_value = "/")]
        root: PathBuf,
    },
    /// List the node's pods
    Pods,
    /// Print a container's log
    Logs {
        /// POD or NAMESPACE/POD
        pod: String,
        #[arg(short, long)]
        container: Option<String>,
        #[arg(short, long)]
        follow: bool,
        #[arg(short, long)]
        previous: bool,
        #[arg(long)]
        timestamps: bool,
        #[arg(long)]
        tail: Option<u64>,
    },
    /// Run a command in a container
    Exec {
        /// POD or NAMESPACE/POD
        pod: String,
        #[arg(short, long)]
        container: Option<String>,
        /// Pass stdin to the command
        #[arg(short = 'i', long)]
        stdin: bool,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum CardVerb {
    /// Early at each boot: reads bramble.toml, and writes what the other units need
    Apply,
    /// After the join: wipes the token from bramble.toml
    Wipe,
    /// Shows on the console what the machine is and does
    Console,
}

#[derive(Debug, Subcommand)]
pub enum ImageVerb {
    /// Take in an OCI layout or a `docker save` archive; `-` is stdin
    Import {
        archive: PathBuf,
    },
    List,
    /// Remove images that no pod uses
    Prune,
}
