use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::RegistryError;

/// What a body brings at least in the time after which one that brings nothing is given up: a registry that drips
/// byte by byte would hold a download's place for years.
const PACE_BYTES_MIN: usize = 4 << 10;

/// A response's body, as long as it gets on.
pub(super) struct Content {
    body: Incoming,
    url: String,
    stall: Duration,
    window: Instant,
    bytes: usize,
}

impl Content {
    pub fn new(body: Incoming, url: &str, stall: Duration) -> Self {
        Self { body, url: url.to_owned(), stall, window: Instant::now(), bytes: 0 }
    }

    /// The next piece; none at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let url = self.url.clone();
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| RegistryError::Request { url, source };
        loop {
            let Ok(frame) = tokio::time::timeout(self.stall, self.body.frame()).await else {
                return Err(failed(format!("nothing came for {:?}", self.stall).into()));
            };
            let frame = match frame {
                None => return Ok(None),
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Err(failed(error.into())),
            };
            let Ok(data) = frame.into_data() else { continue };
            self.bytes += data.len();
            if self.window.elapsed() > self.stall {
                if self.bytes < PACE_BYTES_MIN {
                    let why = format!("less than {PACE_BYTES_MIN} bytes came in {:?}", self.stall);
                    return Err(failed(why.into()));
                }
                (self.window, self.bytes) = (Instant::now(), 0);
            }
            return Ok(Some(data));
        }
    }

    /// All of it, where it is not more than `bytes_max`.
    pub async fn all(mut self, what: &str, bytes_max: u64) -> Result<Vec<u8>, RegistryError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.next().await? {
            if (bytes.len() + chunk.len()) as u64 > bytes_max {
                return Err(RegistryError::TooLarge { what: what.to_owned(), limit: bytes_max });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}
