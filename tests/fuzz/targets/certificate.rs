//! Certificates that clients show, and requests for one.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use control_apiserver::authenticate::certificate_user;
use control_pki::{Pki, Request, request};
use control_wire::trust;
use libfuzzer_sys::fuzz_target;
use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::{ServerName, UnixTime};

const NOW: Duration = Duration::from_secs(1_800_000_000);

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
    // Any chain that a server shows to who knows nothing yet.
    let (name, now) = (ServerName::try_from(trust::SERVER_NAME).expect("a name"), UnixTime::since_unix_epoch(NOW));
    let (leaf, ca) = data.split_at(data.len() / 2);
    for (leaf, ca) in [(data, data), (leaf, ca)] {
        let shown = trust::ClusterVerifier::new(trust::Anchor::First);
        assert!(shown.verify_server_cert(&leaf.into(), &[ca.into()], &name, &[], now).is_err());
    }
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
