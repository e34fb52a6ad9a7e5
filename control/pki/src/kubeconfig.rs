//! The file that lets kubectl in.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::leaf::Leaf;

const PEM_LINE_CHARACTERS: usize = 64;

pub(crate) fn render(server_url: &str, ca_pem: &str, admin: &Leaf) -> String {
    let ca = STANDARD.encode(ca_pem);
    let certificate = STANDARD.encode(&admin.certificate_pem);
    let key = STANDARD.encode(admin.key_pem());
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: bramble
  cluster:
    server: {server_url}
    certificate-authority-data: {ca}
users:
- name: bramble
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
contexts:
- name: bramble
  context:
    cluster: bramble
    user: bramble
current-context: bramble
"
    )
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(PEM_LINE_CHARACTERS)
        .map(|line| std::str::from_utf8(line).expect("base64 is ASCII"))
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
