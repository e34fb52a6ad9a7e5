//! Ports by name, and failures to connect in Go's words, which users look for.

use std::io::{self, ErrorKind};

use control_api::view::IntOrString;
use control_api::view::core::Container;

/// A number, the name of one of the container's ports, or a number as text.
pub(super) fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name));
            match named {
                Some(port) => port.container_port,
                None => name.parse().map_err(|_| format!("strconv.Atoi: parsing {name:?}: invalid syntax"))?,
            }
        }
    };
    let valid = u16::try_from(number).ok().filter(|number| *number > 0);
    valid.ok_or_else(|| format!("invalid port number: {number}"))
}

pub(super) fn join(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

pub(super) fn dial_error(authority: &str, error: &io::Error) -> String {
    format!("dial tcp {authority}: {}", words(error, "connect: "))
}

/// `call` is what was tried, for failures of the system.
pub(super) fn words(error: &io::Error, call: &str) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => format!("{call}connection refused"),
        ErrorKind::ConnectionReset => format!("{call}connection reset by peer"),
        ErrorKind::HostUnreachable => format!("{call}no route to host"),
        ErrorKind::NetworkUnreachable => format!("{call}network is unreachable"),
        ErrorKind::TimedOut => format!("{call}connection timed out"),
        ErrorKind::UnexpectedEof => "EOF".to_owned(),
        _ => error.to_string(),
    }
}
