//! The cluster's CA as the certificate controller uses it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use control_controllers::{Signer, Usage};
use control_pki::{KeyUsage, Pki, request};

/// Signs what was approved.
#[derive(Debug)]
pub struct CaSigner {
    pki: Arc<Pki>,
}

impl CaSigner {
    pub fn new(pki: Arc<Pki>) -> Self {
        Self { pki }
    }
}

impl Signer for CaSigner {
    fn sign(&self, request: &str, usage: Usage, life: Duration) -> Result<String, String> {
        let pem = STANDARD.decode(request).map_err(|error| error.to_string())?;
        let usage = KeyUsage { digital_signature: usage.digital_signature, key_encipherment: usage.key_encipherment };
        let certificate = self.pki.sign_client(&pem, usage, life).map_err(|error| error.to_string())?;
        Ok(STANDARD.encode(certificate))
    }

    fn ends(&self, certificate: &str) -> Option<i64> {
        request::end_seconds(&STANDARD.decode(certificate).ok()?)
    }
}
