//! A door for the fuzz target to what comes over a shim's socket.

use crate::protocol::{Request, Response, body_length, decode};

/// A frame's head and body, as either side reads them.
pub fn shim_frame(bytes: &[u8]) {
    if let Some((head, body)) = bytes.split_first_chunk::<5>() {
        let _ = body_length(*head);
        let _ = decode::<Request>(body);
        let _ = decode::<Response>(body);
    }
}
