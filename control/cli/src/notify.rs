//! Telling a supervisor "ready", by systemd's protocol: one datagram to the socket named in NOTIFY_SOCKET.
//!
//! `bramble up` and systemd both listen this way, so that neither has to ask again and again.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// Says that this program is ready, if somebody asked to be told.
pub fn ready() -> io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let path = Path::new(&path);
    // systemd may name an abstract socket.
    if let Some(name) = path.to_str().and_then(|path| path.strip_prefix('@')) {
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        return UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address).map(|_| ());
    }
    UnixDatagram::unbound()?.send_to(b"READY=1", path).map(|_| ())
}
