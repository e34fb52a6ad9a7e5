//! What single values may be; the error is the words for the writer.

use std::net::{IpAddr, Ipv4Addr};

use crate::settings::Role;

const LABEL_BYTES_MAX: usize = 63;
const SERVER_BYTES_MAX: usize = 260;
const SERVER_PORT: u16 = 6443;
const TOKEN_PREFIX: &str = "bramble1.";
const TOKEN_BYTES_MAX: usize = 2048;
const SSID_BYTES_MAX: usize = 32;
const PASSWORD_BYTES_MIN: usize = 8;
const PASSWORD_BYTES_MAX: usize = 63;
const KEY_BYTES_MAX: usize = 16 << 10;

type Checked<T> = Result<T, String>;

pub fn role(text: &str) -> Checked<Role> {
    Role::of(text).ok_or_else(|| format!("role is one of \"{}\", not \"{text}\"", Role::NAMES.join("\", \"")))
}

pub fn hostname(text: &str) -> Checked<String> {
    let name = text.to_ascii_lowercase();
    if let Some(odd) = name.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-') {
        return Err(format!("hostname may hold letters a to z, digits and dashes, but there is {}", shown(odd)));
    }
    if name.starts_with('-') || name.ends_with('-') {
        return Err("hostname may not begin or end with a dash".to_owned());
    }
    if name.len() > LABEL_BYTES_MAX {
        return Err(format!("hostname is longer than {LABEL_BYTES_MAX} letters"));
    }
    Ok(name)
}

pub fn token(text: &str) -> Checked<String> {
    let Some(body) = text.strip_prefix(TOKEN_PREFIX) else {
        return Err(format!(
            "join must be the token that `bramble token create --card` prints; it begins with {TOKEN_PREFIX}"
        ));
    };
    if let Some(odd) = body.chars().find(|c| !is_token_character(*c)) {
        return Err(format!("join holds {}, which no token does: copy the token whole, in one line", shown(odd)));
    }
    if body.len() < 32 || text.len() > TOKEN_BYTES_MAX {
        return Err("join is not a whole token: copy it once more, in one line".to_owned());
    }
    Ok(text.to_owned())
}

/// What may follow a token's prefix.
pub fn is_token_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

/// `host`, `host:port` or `[v6]:port`; the port is 6443 where none is given.
pub fn server(text: &str) -> Checked<String> {
    let wrong = || format!("server must be an address such as \"192.168.1.4\" or \"192.168.1.4:{SERVER_PORT}\"");
    if text.len() > SERVER_BYTES_MAX || text.contains("://") {
        return Err(wrong());
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(std::net::SocketAddr::new(address, SERVER_PORT).to_string());
    }
    if text.starts_with('[') {
        return text.parse::<std::net::SocketAddr>().map(|address| address.to_string()).map_err(|_| wrong());
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong)?),
        None => (text, SERVER_PORT),
    };
    let is_name = host.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.');
    let looks_like_address = host.chars().all(|c| c.is_ascii_digit() || c == '.');
    if host.is_empty() || !is_name || (looks_like_address && host.parse::<Ipv4Addr>().is_err()) {
        return Err(wrong());
    }
    Ok(format!("{host}:{port}"))
}

pub fn ssid(text: &str) -> Checked<String> {
    if text.len() > SSID_BYTES_MAX {
        return Err(format!("ssid is longer than {SSID_BYTES_MAX} characters, which no wifi network's name is"));
    }
    no_controls("ssid", text)
}

pub fn password(text: &str) -> Checked<String> {
    if text.len() == PASSWORD_BYTES_MAX + 1 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text.to_owned());
    }
    if text.chars().any(|c| !(' '..='~').contains(&c)) {
        return Err("password holds a character that wifi passwords cannot have: only letters a to z, digits and \
                    signs of an English keyboard"
            .to_owned());
    }
    if !(PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX).contains(&text.len()) {
        return Err(format!("a wifi password has {PASSWORD_BYTES_MIN} to {PASSWORD_BYTES_MAX} characters"));
    }
    Ok(text.to_owned())
}

pub fn country(text: &str) -> Checked<String> {
    if text.len() == 2 && text.chars().all(|c| c.is_ascii_alphabetic()) {
        return Ok(text.to_ascii_uppercase());
    }
    Err("country is two letters, such as \"DE\", \"GB\" or \"US\"".to_owned())
}

pub fn authorized_key(text: &str) -> Checked<String> {
    let text = text.trim();
    if text.contains("PRIVATE KEY") {
        return Err("this is a private key, which must stay on your computer: use the one line of the file that ends \
                    with .pub"
            .to_owned());
    }
    if text.len() > KEY_BYTES_MAX {
        return Err(format!("a key is longer than {KEY_BYTES_MAX} characters"));
    }
    let text = no_controls("a key", text)?;
    let mut words = text.split(' ').filter(|word| !word.is_empty());
    let is_type = |word: &str| {
        ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|prefix| word.starts_with(prefix))
            && word.chars().all(|c| c.is_ascii_alphanumeric() || "-@.".contains(c))
    };
    let is_body = |word: &str| word.len() > 40 && word.chars().all(|c| c.is_ascii_alphanumeric() || "+/=".contains(c));
    if words.next().is_some_and(is_type) && words.next().is_some_and(is_body) {
        return Ok(text);
    }
    Err("this is no public key: it is one line such as \"ssh-ed25519 AAAA... me@laptop\", from a file that ends with \
         .pub"
        .to_owned())
}

/// `192.168.1.5/24`.
pub fn address(text: &str) -> Checked<(Ipv4Addr, u8)> {
    let wrong = || {
        "address must be like \"192.168.1.5/24\": this machine's address, a slash, and how many bits of it \
                    are the network's (24 at most homes)"
    };
    let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
    let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
    let prefix = prefix.parse::<u8>().ok().filter(|prefix| (1..=32).contains(prefix)).ok_or_else(wrong)?;
    if address.is_unspecified() || address.is_loopback() || address.is_multicast() || address.is_broadcast() {
        return Err(format!("{address} cannot be a machine's address"));
    }
    if prefix < 31 {
        let host = u32::from(address) & (u32::MAX >> prefix);
        if host == 0 || host == u32::MAX >> prefix {
            return Err(format!("{address}/{prefix} is a whole network, not one machine's address in it"));
        }
    }
    Ok((address, prefix))
}

pub fn gateway(text: &str, (address, prefix): (Ipv4Addr, u8)) -> Checked<Ipv4Addr> {
    let gateway: Ipv4Addr =
        text.parse().map_err(|_| "gateway must be an address such as \"192.168.1.1\": your router's".to_owned())?;
    let network = |address: Ipv4Addr| u32::from(address).checked_shr(32 - u32::from(prefix)).unwrap_or(0);
    if network(gateway) != network(address) || gateway == address {
        return Err(format!("gateway {gateway} is not another machine in the network of {address}/{prefix}"));
    }
    Ok(gateway)
}

pub fn dns(text: &str) -> Checked<IpAddr> {
    text.parse().map_err(|_| "dns must be a list of addresses, such as [\"192.168.1.1\"]".to_owned())
}

fn no_controls(what: &str, text: &str) -> Checked<String> {
    match text.chars().find(|c| c.is_control()) {
        Some(odd) => Err(format!("{what} holds {}", shown(odd))),
        None => Ok(text.to_owned()),
    }
}

/// A character by name where it cannot be seen.
pub fn shown(c: char) -> String {
    match c {
        ' ' => "a space".to_owned(),
        '\u{a0}' | '\u{2007}' | '\u{202f}' => "a space that is none (of a word processor or a web page)".to_owned(),
        '\t' => "a tab".to_owned(),
        '\n' | '\r' => "a line break".to_owned(),
        '\u{200b}'..='\u{200f}' | '\u{feff}' | '\u{2060}' => "an invisible character".to_owned(),
        c if c.is_control() => "an invisible character".to_owned(),
        c => format!("\"{c}\""),
    }
}
