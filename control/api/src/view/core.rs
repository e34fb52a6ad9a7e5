//! The core group's `v1`.

mod container;
mod node;
mod object;
mod pod;
mod service;
mod status;
mod volume;

pub use container::*;
pub use node::*;
pub use object::*;
pub use pod::*;
pub use service::*;
pub use status::*;
pub use volume::*;
