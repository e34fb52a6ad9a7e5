//! Real containers on this machine's kernel. They need root.

mod life;
mod node;
