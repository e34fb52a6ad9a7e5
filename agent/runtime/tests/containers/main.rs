//! Real containers on this machine's kernel. They need root.
#![allow(clippy::unwrap_used)]

mod ends;
mod isolation;
mod life;
mod limits;
mod measures;
mod node;
mod users;
