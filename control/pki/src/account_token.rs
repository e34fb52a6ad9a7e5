//! Tokens of ServiceAccounts: JSON web tokens signed with ES256, with the claims that Kubernetes writes.
//!
//! ```text
//! base64url({"alg":"ES256","kid":...}) . base64url(claims) . base64url(r || s)
//! ```

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control_wire::durable::{self, FileError, MODE_PRIVATE};
use control_wire::trust;
pub use control_wire::trust::now_seconds;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::kubeconfig::pem;

const KEY_FILE: &str = "sa.key";
/// Who issues tokens; also the audience that the API itself takes.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// The longest token looked at; ours have about 1 KiB.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// The longest header looked at.
const HEADER_BYTES_MAX: usize = 1 << 10;
/// Tokens whose signature was found right; beyond it all are forgotten.
const VERIFIED_MAX: usize = 1024;
const ALGORITHM: &str = "ES256";
/// What stands before the point in the DER form of a P-256 public key.
const PUBLIC_KEY_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// An object that a token is of or bound to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// What Kubernetes says of an account in its token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Bound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Bound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Bound>,
    pub serviceaccount: Bound,
    /// When a pod should have a newer one, though this one is still good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<u64>,
}

/// What a token says. Times are seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub aud: Vec<String>,
    pub exp: u64,
    pub iat: u64,
    pub iss: String,
    pub jti: String,
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: Account,
    pub nbf: u64,
    pub sub: String,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

/// The key cannot be had, or a token not be signed.
#[derive(Debug, thiserror::Error)]
pub enum AccountKeyError {
    #[error("cannot keep the key of service account tokens")]
    File(#[from] FileError),
    #[error("cannot make a key for service account tokens")]
    Make,
    #[error("cannot sign a token")]
    Sign,
}

/// Why a token is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccountTokenError {
    #[error("token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    #[error("token is not a JSON web token")]
    Malformed,
    #[error("token is of another cluster")]
    OtherKey,
    #[error("token is forged")]
    Forged,
    #[error("token is of another issuer")]
    OtherIssuer,
    #[error("service account token has expired")]
    Expired,
}

/// The key that signs, and the tokens that it was found to have signed.
pub struct AccountKey {
    pair: EcdsaKeyPair,
    kid: String,
    verified: Mutex<HashMap<[u8; 32], Arc<Claims>>>,
}

impl std::fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AccountKey({})", self.kid)
    }
}

impl AccountKey {
    /// The key in `dir`, made there at the first start.
    pub fn open(dir: &Path) -> Result<Self, AccountKeyError> {
        let path = dir.join(KEY_FILE);
        if let Some(text) = durable::read(&path)? {
            let key = PrivatePkcs8KeyDer::from_pem_slice(&text);
            let key = key.map_err(|error| FileError::damaged(&path, error.to_string()))?;
            let key = Self::parse(key.secret_pkcs8_der());
            return Ok(key.ok_or_else(|| FileError::damaged(&path, "it is no P-256 key"))?);
        }
        let (key, document) = Self::make()?;
        durable::replace(&path, pem("PRIVATE KEY", &document).as_bytes(), MODE_PRIVATE)?;
        Ok(key)
    }

    /// A key that lives as long as the process.
    pub fn generate() -> Result<Self, AccountKeyError> {
        Self::make().map(|(key, _)| key)
    }

    fn make() -> Result<(Self, Vec<u8>), AccountKeyError> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let document = document.map_err(|_| AccountKeyError::Make)?.as_ref().to_vec();
        let key = Self::parse(&document).ok_or(AccountKeyError::Make)?;
        Ok((key, document))
    }

    fn parse(pkcs8: &[u8]) -> Option<Self> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new()).ok()?;
        let der = [&PUBLIC_KEY_HEAD[..], pair.public_key().as_ref()].concat();
        let kid = URL_SAFE_NO_PAD.encode(trust::hash(&der));
        Some(Self { pair, kid, verified: Mutex::default() })
    }

    /// A token that says `claims`.
    pub fn sign(&self, claims: &Claims) -> Result<String, AccountKeyError> {
        let header = Header { alg: ALGORITHM.to_owned(), kid: self.kid.clone() };
        let part = |json: Result<Vec<u8>, serde_json::Error>| {
            json.map(|json| URL_SAFE_NO_PAD.encode(json)).map_err(|_| AccountKeyError::Sign)
        };
        let mut token = part(serde_json::to_vec(&header))?;
        token.push('.');
        token.push_str(&part(serde_json::to_vec(claims))?);
        let signature = self.pair.sign(&SystemRandom::new(), token.as_bytes()).map_err(|_| AccountKeyError::Sign)?;
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature.as_ref()));
        Ok(token)
    }

    /// What a token says, if this key signed it and its time is not over. Whether its account is still there is the
    /// caller's to ask.
    ///
    /// Its beginning is not looked at: only this key makes tokens, so one from the future tells of a clock that went
    /// back, as a Pi's does when it starts.
    pub fn verify(&self, token: &str) -> Result<Arc<Claims>, AccountTokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(AccountTokenError::TooLong);
        }
        let id = trust::hash(token.as_bytes());
        let known = self.verified.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        let claims = match known {
            Some(claims) => claims,
            None => {
                let claims = Arc::new(self.check(token)?);
                let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
                if verified.len() >= VERIFIED_MAX {
                    verified.clear();
                }
                verified.insert(id, claims.clone());
                claims
            }
        };
        if claims.exp <= trust::now_seconds() { Err(AccountTokenError::Expired) } else { Ok(claims) }
    }

    fn check(&self, token: &str) -> Result<Claims, AccountTokenError> {
        let parts = Parts::of(token)?;
        if parts.header.alg != ALGORITHM || parts.header.kid != self.kid {
            return Err(AccountTokenError::OtherKey);
        }
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref())
            .verify(parts.signed.as_bytes(), &parts.signature)
            .map_err(|_| AccountTokenError::Forged)?;
        if parts.claims.iss == ISSUER { Ok(parts.claims) } else { Err(AccountTokenError::OtherIssuer) }
    }

    /// `/openid/v1/jwks`: the key by which others check tokens.
    pub fn key_set(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        json!({"keys": [{
            "use": "sig", "kty": "EC", "kid": self.kid, "crv": "P-256", "alg": ALGORITHM,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }]})
    }
}

/// A token taken apart, and not believed yet.
struct Parts<'a> {
    header: Header,
    claims: Claims,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Parts<'a> {
    fn of(token: &'a str) -> Result<Self, AccountTokenError> {
        const BAD: AccountTokenError = AccountTokenError::Malformed;
        let (signed, signature) = token.rsplit_once('.').ok_or(BAD)?;
        let (header, claims) = signed.split_once('.').ok_or(BAD)?;
        if header.len() > HEADER_BYTES_MAX {
            return Err(BAD);
        }
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| BAD);
        Ok(Self {
            header: serde_json::from_slice(&bytes(header)?).map_err(|_| BAD)?,
            claims: serde_json::from_slice(&bytes(claims)?).map_err(|_| BAD)?,
            signed,
            signature: bytes(signature)?,
        })
    }
}

/// `/.well-known/openid-configuration`.
pub fn discovery_document() -> Value {
    json!({
        "issuer": ISSUER, "jwks_uri": format!("{ISSUER}/openid/v1/jwks"), "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": [ALGORITHM],
    })
}

/// Whether a bearer token may be one of these at all.
pub fn looks_like_one(token: &str) -> bool {
    token.bytes().filter(|byte| *byte == b'.').count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(exp: u64) -> Claims {
        Claims { aud: vec![ISSUER.to_owned()], exp, iss: ISSUER.to_owned(), sub: "s".to_owned(), ..Claims::default() }
    }

    #[test]
    fn a_token_is_believed_by_its_own_key_until_its_end() {
        let key = AccountKey::generate().unwrap();
        let token = key.sign(&claims(trust::now_seconds() + 60)).unwrap();
        assert_eq!(key.verify(&token).unwrap().sub, "s");
        assert_eq!(AccountKey::generate().unwrap().verify(&token), Err(AccountTokenError::OtherKey));
        let over = key.sign(&claims(trust::now_seconds())).unwrap();
        assert_eq!(key.verify(&over), Err(AccountTokenError::Expired));
        let mut other = claims(trust::now_seconds() + 60);
        other.iss = "https://elsewhere".to_owned();
        assert_eq!(key.verify(&key.sign(&other).unwrap()), Err(AccountTokenError::OtherIssuer));
    }

    #[test]
    fn whoever_changes_a_token_is_found_out() {
        let key = AccountKey::generate().unwrap();
        let token = key.sign(&claims(trust::now_seconds() + 60)).unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = signed.split_once('.').unwrap();
        let mut more = claims(trust::now_seconds() + 600_000);
        more.sub = "root".to_owned();
        let more = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&more).unwrap());
        assert_eq!(key.verify(&format!("{header}.{more}.{signature}")), Err(AccountTokenError::Forged));
        let none = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"none","kid":"{}"}}"#, key.kid));
        assert_eq!(key.verify(&format!("{none}.{more}.")), Err(AccountTokenError::OtherKey));
        for bad in ["", "a.b", "a.b.c", "....", &"a".repeat(TOKEN_BYTES_MAX + 1)] {
            assert!(key.verify(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_key_stays_over_a_start_and_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let token = AccountKey::open(folder.path()).unwrap().sign(&claims(trust::now_seconds() + 60)).unwrap();
        assert!(AccountKey::open(folder.path()).unwrap().verify(&token).is_ok());
        let mode = folder.path().join(KEY_FILE).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
