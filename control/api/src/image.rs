//! Images as far as server and nodes both speak of them: names, platforms, and the question which ones an image is for.

pub mod platform;
pub mod question;
pub mod reference;

pub use platform::Platform;
pub use question::{PlatformsAnswer, PlatformsRequest};
pub use reference::{Reference, ReferenceError};
