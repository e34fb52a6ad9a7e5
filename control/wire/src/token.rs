//! The text that lets a node join: `bramble1.` and base64url of postcard.
//!
//! Holding one is enough to join, so it is printed once and kept nowhere; the server keeps a hash of its secret.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// Tells a token's format; the digit counts the changes that an old reader cannot read.
const PREFIX: &str = "bramble1.";
const TEXT_BYTES_MAX: usize = 2048;
const ADDRESSES_MAX: usize = 16;
const FIELD_BYTES_MAX: usize = 256;

/// What a node needs to find a cluster, to know it, and to be let in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    pub cluster: String,
    /// `host:port` of the servers' UDP ports, the likeliest first.
    pub addresses: Vec<String>,
    /// SHA-256 of the cluster CA's public key; a server that shows another CA is not this cluster's.
    pub ca_hash: [u8; 32],
    pub id: String,
    pub secret: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("join token does not begin with {PREFIX}")]
    Prefix,
    #[error("join token is longer than {TEXT_BYTES_MAX} characters")]
    TooLong,
    #[error("join token is damaged: copy it whole")]
    Damaged,
    #[error("join token names no server address")]
    NoAddress,
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.len() > TEXT_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let body = text.strip_prefix(PREFIX).ok_or(TokenError::Prefix)?;
        let bytes = URL_SAFE_NO_PAD.decode(body).map_err(|_| TokenError::Damaged)?;
        let (token, rest) = postcard::take_from_bytes::<Self>(&bytes).map_err(|_| TokenError::Damaged)?;
        let fields = [&token.cluster, &token.id, &token.secret];
        let too_long = fields.into_iter().chain(&token.addresses).any(|field| field.len() > FIELD_BYTES_MAX);
        if !rest.is_empty() || too_long || token.addresses.len() > ADDRESSES_MAX {
            return Err(TokenError::Damaged);
        }
        if token.addresses.is_empty() {
            return Err(TokenError::NoAddress);
        }
        Ok(token)
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = postcard::to_stdvec(self).map_err(|_| fmt::Error)?;
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// Without the secret, so that it never reaches a log.
impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, addresses, id, .. } = self;
        f.debug_struct("JoinToken").field("cluster", cluster).field("addresses", addresses).field("id", id).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token() -> JoinToken {
        JoinToken {
            cluster: "c0ffee".to_owned(),
            addresses: vec!["192.168.1.4:6443".to_owned(), "[fd00::1]:6443".to_owned()],
            ca_hash: [9; 32],
            id: "abcdef".to_owned(),
            secret: "very-secret".to_owned(),
        }
    }

    #[test]
    fn a_token_survives_its_text_form() {
        let text = format!("  {}\n", token());
        assert_eq!(text.parse::<JoinToken>(), Ok(token()));
    }

    #[test]
    fn a_token_that_was_cut_or_is_none_says_so() {
        let text = token().to_string();
        assert_eq!(text[..text.len() - 4].parse::<JoinToken>(), Err(TokenError::Damaged));
        assert_eq!("K10abc".parse::<JoinToken>(), Err(TokenError::Prefix));
        let endless = format!("{PREFIX}{}", "A".repeat(TEXT_BYTES_MAX));
        assert_eq!(endless.parse::<JoinToken>(), Err(TokenError::TooLong));
        let nowhere = JoinToken { addresses: Vec::new(), ..token() };
        assert_eq!(nowhere.to_string().parse::<JoinToken>(), Err(TokenError::NoAddress));
    }

    #[test]
    fn a_printed_token_hides_its_secret() {
        assert!(!format!("{:?}", token()).contains("very-secret"));
    }

    proptest! {
        #[test]
        fn random_text_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)).parse::<JoinToken>();
        }
    }
}
