//! What a card may be told.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Map, Value};

/// The largest file read.
pub const FILE_BYTES_MAX: usize = 64 << 10;

/// What a machine does in its cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// Runs the control plane, and pods.
    Server,
    /// Runs pods.
    Agent,
    /// As `Agent`: joins by a token where there is one, else waits to be let in.
    #[default]
    Auto,
}

impl Role {
    pub const NAMES: [&str; 3] = ["server", "agent", "auto"];

    /// As it is written in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Agent => "agent",
            Self::Auto => "auto",
        }
    }

    /// By its name, in whatever case.
    pub fn of(name: &str) -> Option<Self> {
        let roles = [Self::Server, Self::Agent, Self::Auto];
        roles.into_iter().find(|role| role.name().eq_ignore_ascii_case(name))
    }
}

/// Text that never shows in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// The whole file. What is not given is for the machine to choose.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    pub role: Role,
    /// One label: letters, digits and dashes.
    pub hostname: Option<String>,
    /// A join token's text; whether it is whole, its reader says.
    pub join: Option<Secret>,
    /// A server to join, `host:port`.
    pub server: Option<String>,
    pub wifi: Option<Wifi>,
    /// Who may log in as root, a line of `authorized_keys` each.
    pub authorized_keys: Vec<String>,
    /// A fixed address; by DHCP where there is none.
    pub network: Option<Network>,
    /// Settings of the agent, with the names of its own file.
    pub agent: Map<String, Value>,
    /// Settings of the server, likewise: the table `[server]`.
    pub server_settings: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wifi {
    pub ssid: String,
    /// None for an open network. 8 to 63 printable ASCII characters, or 64 hex digits.
    pub password: Option<Secret>,
    /// Two capital letters: which channels may be used.
    pub country: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    pub address: Ipv4Addr,
    /// 1 to 32.
    pub prefix: u8,
    pub gateway: Option<Ipv4Addr>,
    pub dns: Vec<IpAddr>,
}
