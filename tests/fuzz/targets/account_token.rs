//! Tokens of ServiceAccounts as a stranger may send them: nothing but what the key signed is believed.
#![no_main]

use std::sync::LazyLock;

use control_pki::AccountKey;
use control_pki::account_token::{Claims, ISSUER};
use libfuzzer_sys::fuzz_target;

static KEY: LazyLock<AccountKey> = LazyLock::new(|| AccountKey::generate().expect("a key"));

static TOKEN: LazyLock<String> = LazyLock::new(|| {
    let claims = Claims { exp: u64::MAX, iss: ISSUER.to_owned(), ..Claims::default() };
    KEY.sign(&claims).expect("signs")
});

fuzz_target!(|text: &str| {
    assert!(KEY.verify(text).is_err(), "{text} is believed");
    // A good token with something put in or in its place.
    let (signed, signature) = TOKEN.rsplit_once('.').expect("three parts");
    let (header, claims) = signed.split_once('.').expect("three parts");
    for token in [
        format!("{text}.{claims}.{signature}"),
        format!("{header}.{text}.{signature}"),
        format!("{header}.{claims}.{text}"),
        format!("{}{text}", *TOKEN),
    ] {
        assert!(token == *TOKEN || KEY.verify(&token).is_err(), "{token} is believed");
    }
});
