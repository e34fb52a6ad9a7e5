//! What the server asks of a node before it places a pod. Travels as postcard, so fields are only ever appended.

use serde::{Deserialize, Serialize};

use super::Platform;

/// An image is asked for with so many Secrets' contents and bytes of them at most; more are left out.
pub const SECRETS_MAX: usize = 16;
/// Well under a frame.
pub const SECRETS_BYTES_MAX: usize = 1 << 20;
/// The platforms that an answer names at most.
pub const PLATFORMS_MAX: usize = 256;

/// For which platforms does the registry have this image?
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformsRequest {
    pub image: String,
    /// Contents of the pod's dockerconfigjson Secrets.
    pub secrets: Vec<Vec<u8>>,
}

/// Without the secrets, so that they never reach a log.
impl std::fmt::Debug for PlatformsRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PlatformsRequest {{ image: {:?}, secrets: {} }}", self.image, self.secrets.len())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlatformsAnswer {
    /// At most [`PLATFORMS_MAX`].
    Known(Vec<Platform>),
    /// The registry's word, or the name's: there is no such image for this pod, or it does not say. A pull will be told so.
    Unknowable { message: String },
    /// Nobody could say; it may be asked again.
    Unreachable { message: String },
}
