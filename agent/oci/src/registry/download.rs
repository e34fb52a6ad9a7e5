use std::path::Path;

use http::StatusCode;
use ring::digest::{Context, SHA256};
use tokio::{
    fs::File,
    io::{AsyncSeekExt, AsyncWriteExt},
};

use super::{ATTEMPTS_MAX, RegistryError, Repository, back_off};
use crate::{manifest::Descriptor, unpack::hex};

/// Times that one layer is asked for, however the transfer gets on: a registry that cuts off after one more byte each
/// time would be asked for ever.
const TRANSFERS_MAX: u32 = 100;

impl Repository {
    /// Downloads a layer into a new file and verifies its digest; a broken transfer goes on where it ended.
    pub async fn download(
        &self,
        layer: &Descriptor,
        to: &Path,
        bytes_max: u64,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<(), RegistryError> {
        let _permit = self.registries().downloads.acquire().await.expect("the semaphore is never closed");
        let write_failed = |source| RegistryError::Write(to.display().to_string(), source);
        let limit = if layer.size > 0 { layer.size.min(bytes_max) } else { bytes_max };
        if layer.size > bytes_max {
            return Err(RegistryError::TooLarge { what: layer.digest.clone(), limit: bytes_max });
        }
        let file = File::options().create_new(true).write(true).open(to).await.map_err(write_failed)?;
        let mut transfer = Transfer { file, hash: Context::new(&SHA256), bytes: 0, limit };
        let (mut attempt, mut transfers) = (0, 0);
        loop {
            transfers += 1;
            let before = transfer.bytes;
            match self.transfer(layer, &mut transfer, &progress).await {
                Ok(()) => break,
                Err(error) if error.is_passing() && attempt + 1 < ATTEMPTS_MAX && transfers < TRANSFERS_MAX => {
                    // A transfer that gets on is not given up for being interrupted often.
                    if transfer.bytes > before {
                        attempt = 0;
                    }
                    back_off(&mut attempt, &error).await;
                }
                Err(error) => return Err(error),
            }
        }
        transfer.file.flush().await.map_err(write_failed)?;
        let actual = format!("sha256:{}", hex(transfer.hash.finish().as_ref()));
        if actual == layer.digest {
            return Ok(());
        }
        Err(RegistryError::Digest { what: "a layer".into(), expected: layer.digest.clone(), actual })
    }

    async fn transfer(
        &self,
        layer: &Descriptor,
        transfer: &mut Transfer,
        progress: &(impl Fn(u64) + Send + Sync),
    ) -> Result<(), RegistryError> {
        let path = format!("blobs/{}", layer.digest);
        let response = self.get(&path, "*/*", Some(transfer.bytes), &layer.digest).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT && transfer.bytes > 0 {
            transfer.restart().await?;
        }
        let mut content = self.registries().content(response.into_body(), &path);
        while let Some(chunk) = content.next().await? {
            transfer.write(&chunk, &layer.digest).await?;
            progress(transfer.bytes);
        }
        Ok(())
    }
}

struct Transfer {
    file: File,
    hash: Context,
    bytes: u64,
    limit: u64,
}

impl Transfer {
    async fn write(&mut self, chunk: &[u8], digest: &str) -> Result<(), RegistryError> {
        self.bytes += chunk.len() as u64;
        if self.bytes > self.limit {
            return Err(RegistryError::TooLarge { what: digest.to_owned(), limit: self.limit });
        }
        self.hash.update(chunk);
        self.file.write_all(chunk).await.map_err(|source| RegistryError::Write(digest.to_owned(), source))
    }

    /// The registry does not know ranges.
    async fn restart(&mut self) -> Result<(), RegistryError> {
        let failed = |source| RegistryError::Write("a layer".into(), source);
        self.file.set_len(0).await.map_err(failed)?;
        self.file.rewind().await.map_err(failed)?;
        self.hash = Context::new(&SHA256);
        self.bytes = 0;
        Ok(())
    }
}
