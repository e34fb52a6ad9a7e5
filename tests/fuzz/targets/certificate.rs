//! Certificates that clients show, and requests for one.
#![no_main]

use std::sync::LazyLock;

use control_apiserver::authenticate::certificate_user;
use control_pki::{Pki, Request, request};
use control_wire::trust;
use libfuzzer_sys::fuzz_target;

static PKI: LazyLock<(tempfile::TempDir, Pki)> = LazyLock::new(|| {
    let folder = tempfile::tempdir_in("/dev/shm").expect("there is memory");
    let pki = Pki::open(folder.path(), &[]).expect("an empty folder opens");
    (folder, pki)
});

fuzz_target!(|data: &[u8]| {
    if let Some(user) = certificate_user(&data.into()) {
        assert!(!user.name.is_empty());
    }
    let _ = (trust::key_hash(data), trust::node_name(data), trust::end_seconds(data));
    let _ =
        (Request::from_der(data), Request::read(data), request::check_certificates(data), request::end_seconds(data));
    let pki = &PKI.1;
    if let Ok(certificate) = pki.sign_node(data, "one") {
        // Whatever else a request asks for, what comes out is that node's and nobody else's.
        assert_eq!(trust::node_name(&certificate).as_deref(), Some("one"));
        let user = certificate_user(&certificate.as_slice().into()).expect("a user");
        assert_eq!(user.name, "system:node:one");
        assert_eq!(user.groups, ["system:nodes", "system:authenticated"]);
        assert!(pki.request_key(data, "one").is_ok());
    }
});
