//! Real containers on this machine's kernel. They need root.

mod ends;
mod isolation;
mod life;
mod node;
