//! What a server's start leaves in its pki folder.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use control_pki::{Pki, TokenLimits};

fn read(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap()
}

#[test]
fn a_second_start_keeps_everything_and_new_names_renew_the_api_certificate_alone() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let first = Pki::open(dir, &["pi".to_owned(), "192.168.1.4".to_owned()]).unwrap();
    let files = ["ca.crt", "server.crt", "admin.crt", "link.crt"];
    let before = files.map(|file| read(dir, file));
    Pki::open(dir, &["192.168.1.4".to_owned(), "pi".to_owned()]).unwrap();
    assert_eq!(files.map(|file| read(dir, file)), before);
    let moved = Pki::open(dir, &["192.168.1.5".to_owned()]).unwrap();
    let after = files.map(|file| read(dir, file));
    assert_ne!(after[1], before[1]);
    assert_eq!([&after[0], &after[2], &after[3]], [&before[0], &before[2], &before[3]]);
    assert_eq!(moved.cluster(), first.cluster());
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.path().extension().is_some_and(|extension| extension == "key") {
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
    assert!(first.kubeconfig("https://127.0.0.1:6443").contains("server: https://127.0.0.1:6443\n"));
}

#[test]
fn a_lost_ca_key_is_told_and_nothing_is_made_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    Pki::open(folder.path(), &[]).unwrap();
    std::fs::remove_file(folder.path().join("ca.key")).unwrap();
    let error = Pki::open(folder.path(), &[]).unwrap_err();
    assert!(error.to_string().contains("ca.key"));
    assert!(!folder.path().join("ca.key").exists());
}

#[test]
fn a_token_is_kept_without_its_secret_and_counts_its_uses_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::open(folder.path(), &[]).unwrap();
    let limits = TokenLimits { seconds: Some(60), uses: Some(1) };
    let token = pki.tokens().create(vec!["127.0.0.1:6443".to_owned()], limits).unwrap();
    assert!(!read(folder.path(), &format!("tokens/{}.json", token.id)).contains(&token.secret));
    pki.tokens().use_once(&token.cluster, &token.id, &token.secret, [1; 32]).unwrap();
    let again = Pki::open(folder.path(), &[]).unwrap();
    assert_eq!(again.tokens().list().unwrap()[0].uses, 1);
    assert!(again.tokens().use_once(&token.cluster, &token.id, &token.secret, [2; 32]).is_err());
    again.tokens().revoke(&token.id).unwrap();
    assert!(again.tokens().list().unwrap()[0].revoked);
}
