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
    /// Nodes: lets waiting machines in, empties nodes, and removes them.
    Node {
        #[command(subcommand)]
        verb: Node,
    },
    /// SD cards that join by themselves.
    Card {
        #[command(subcommand)]
        verb: Card,
    },
    /// Shows the cluster at a glance, what is wrong with it, and what helps. Exit code 1 where something is wrong.
    Status,
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
    /// `external`: nodes wait for a cloud controller manager of your own, which gives load balancers their addresses too.
    #[arg(long, value_name = "PROVIDER", value_parser = ["external"])]
    pub cloud_provider: Option<String>,
    /// Lets this machine's own agent in: leaves it a join token in DIR/join, where it looks, unless it has joined.
    #[arg(long)]
    pub admit_own_agent: bool,
    /// Ends when the program that started it does.
    #[arg(long, hide = true)]
    pub exit_with_parent: bool,
}

#[derive(Debug, Subcommand)]
pub enum Node {
    /// Lists nodes, and machines that wait to be let in, with their keys' fingerprints.
    List,
    /// Lets a waiting machine in. Compare the fingerprint with the one on its console first.
    #[command(after_help = "Example:\n  bramble node approve pi-4 0f1e-2d3c-4b5a")]
    Approve {
        name: String,
        /// The fingerprint on the machine's console, or how it begins; without it the name alone decides.
        fingerprint: Option<String>,
    },
    /// Moves a node's pods to others: it takes no new ones, and each of its own is evicted and waited for.
    #[command(after_help = "Example:\n  bramble node drain pi-4\n  kubectl uncordon pi-4      lets pods come again")]
    Drain(Drain),
    /// Drains a node and removes it from the cluster; its key is refused from then on.
    #[command(after_help = "The machine itself is made ready to join anew by `bramble-agent reset`, run on it.")]
    Remove {
        #[command(flatten)]
        options: Drain,
        /// Without draining: for a machine that is gone.
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum Card {
    /// Builds a card's image from Debian's packages and Bramble's programs. Needs no privileges.
    #[command(after_help = "Examples:\n  \
                      bramble card build --board pi --role server --hostname pi-1 -o server.img\n  \
                      bramble card build --board pi --role agent --join TOKEN --wifi home -o agent.img.zst\n\n\
                      Boards: pi is Raspberry Pi 3, 4, 5 and Zero 2 W (64 bits); pi2 is Raspberry Pi 2 and 3 (32 bits);\n\
                      virt is QEMU and other virtual machines.")]
    Build(CardBuild),
    /// Writes an image to a card and reads it back; without --to it lists the disks that could be written.
    #[command(after_help = "Example:\n  bramble card flash agent.img.zst --to /dev/sdb")]
    Flash(CardFlash),
}

#[derive(Debug, clap::Args)]
pub struct CardFlash {
    /// An image, as it is or packed by zstd, xz or gzip.
    pub image: PathBuf,
    /// The disk: a whole one, that nobody uses.
    #[arg(long, value_name = "DISK")]
    pub to: Option<PathBuf>,
    /// Do not ask whether everything on the disk may be lost.
    #[arg(long)]
    pub yes: bool,
    /// --to may name a file too, which is made or overwritten.
    #[arg(long)]
    pub into_file: bool,
}

#[derive(Debug, clap::Args)]
pub struct CardBuild {
    /// pi, pi2 or virt.
    #[arg(long, value_name = "BOARD")]
    pub board: images::board::Board,
    /// arm64 or armhf, for --board virt.
    #[arg(long, value_name = "ARCH")]
    pub arch: Option<images::board::Architecture>,
    /// server: starts a cluster; agent: joins one; auto: joins by its token, or waits to be let in.
    #[arg(long, value_name = "ROLE", default_value = "auto", value_parser = crate::card::role)]
    pub role: control_card::Role,
    /// The token of `bramble token create`, or @FILE that holds it.
    #[arg(long, value_name = "TOKEN", value_parser = crate::card::token)]
    pub join: Option<String>,
    /// The name of the wifi network. Its password is asked for, or taken from BRAMBLE_WIFI_PASSWORD.
    #[arg(long, value_name = "SSID")]
    pub wifi: Option<String>,
    /// The file that holds the wifi's password.
    #[arg(long, value_name = "FILE", requires = "wifi")]
    pub wifi_password_file: Option<PathBuf>,
    /// The country whose wifi channels may be used, such as DE.
    #[arg(long, value_name = "COUNTRY", requires = "wifi")]
    pub wifi_country: Option<String>,
    /// A public key that may log in as root by SSH; without any there is no SSH.
    #[arg(long, value_name = "FILE")]
    pub ssh_key: Vec<PathBuf>,
    /// The machine's name; made from its key by default.
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// A whole bramble.toml of your own instead of the settings above.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["role", "join", "wifi", "ssh_key", "hostname"])]
    pub settings: Option<PathBuf>,
    /// Bramble's programs for that architecture; by default target/dist/ARCH, or what is installed.
    #[arg(long, value_name = "DIR")]
    pub binaries: Option<PathBuf>,
    /// Debian's mirror, the address that ends with /debian; that of this machine's apt by default.
    #[arg(long, value_name = "ADDRESS")]
    pub mirror: Option<String>,
    /// The image; a name that ends with .zst, .xz or .gz packs it.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

#[derive(Debug, clap::Args)]
pub struct Drain {
    pub name: String,
    /// Ends pods too that nothing starts again elsewhere.
    #[arg(long)]
    pub force_pods: bool,
    /// Moves pods too that have emptyDir volumes, whose content is lost.
    #[arg(long)]
    pub delete_emptydir_data: bool,
    /// How long to wait for pods to end.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = super::token::duration)]
    pub timeout: std::time::Duration,
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
        /// For bramble.toml on a card: it lets one machine in, within 30 days.
        #[arg(long, conflicts_with_all = ["ttl", "uses"])]
        card: bool,
        /// Leaves the token in a file for its owner alone, once this machine has an address, and prints nothing. A
        /// token there that lets nodes in for another hour stays.
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Lists tokens, those that let nobody in any more too.
    List,
    /// Ends a token, by its id.
    Revoke { id: String },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_whole() {
        super::Arguments::command().debug_assert();
    }
}
