//! A flashed card's own life: from `bramble.toml` on its first partition to a machine that knows what it is.
//!
//! ```text
//! apply: clock -> key -> bramble.toml, else the copy of the last good one -> token kept -> /run/bramble, network, wifi
//! agent: joins, keeps its identity     wipe: the token goes from bramble.toml     console: tells who stands before it
//! ```
//!
//! Each step may be cut off by a power cut: files on the data partition are replaced whole, the file on FAT is written
//! in place, and each boot does again whatever is not done.

mod apply;
mod console;
mod firmware;
mod place;
mod plan;
mod screen;
mod wipe;

use std::path::Path;

use anyhow::Result;

use crate::cli::CardVerb;

pub async fn run(root: &Path, verb: &CardVerb) -> Result<()> {
    let place = place::Place::below(root);
    match verb {
        CardVerb::Apply => apply::run(&place),
        CardVerb::Wipe => wipe::run(&place),
        CardVerb::Console => console::run(&place).await,
    }
}
