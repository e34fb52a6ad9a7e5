//! Doors for the fuzz targets: what comes over a shim's socket, and seccomp profiles of the node's.

use crate::protocol::{Request, Response, body_length, decode};

/// A profile's text, into a program.
pub fn seccomp_profile(text: &str) {
    let _ = crate::oci::seccomp::Program::of_profile(text);
}

/// A frame's head and body, as either side reads them.
pub fn shim_frame(bytes: &[u8]) {
    if let Some((head, body)) = bytes.split_first_chunk::<5>() {
        let _ = body_length(*head);
        let _ = decode::<Request>(body);
        let _ = decode::<Response>(body);
    }
}
