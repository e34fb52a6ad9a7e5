//! Registries that lie, stall, cut off and never end: a clear error each, and nothing kept.

use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use agent_oci::{Config, Credentials, Images, Limits, Platform, RegistryConfig};

use crate::support::evil::{Evil, Good, endless, honest, manifest, raw, silent, whole};
use crate::support::{Layer, digest};

const MIB: u64 = 1 << 20;

/// Patience of tests that are about something else.
const PATIENCE: Duration = Duration::from_secs(30);

fn images(dir: &Path, host: &str, headers_wait: Duration, body_stall: Duration) -> Images {
    let registries = RegistryConfig { insecure: vec![host.to_owned()], ..Default::default() };
    let limits = Limits {
        manifest_bytes_max: 64 << 10,
        layers_max: 8,
        layer_bytes_max: MIB,
        unpacked_bytes_max: MIB,
        files_max: 100,
        headers_wait,
        body_stall,
        ..Limits::default()
    };
    Images::open(Config { registries, limits, platform: Platform::new("amd64", None), ..Config::new(dir) }).unwrap()
}

async fn refusal(
    good: Good,
    trick: impl Fn(&str, usize, &mut TcpStream) -> bool + Send + Sync + 'static,
) -> (String, usize) {
    refusal_within(PATIENCE, PATIENCE, good, trick).await
}

/// Pulls from a registry that plays a trick; what the pull says. Nothing may be left of it.
async fn refusal_within(
    headers_wait: Duration,
    body_stall: Duration,
    good: Good,
    trick: impl Fn(&str, usize, &mut TcpStream) -> bool + Send + Sync + 'static,
) -> (String, usize) {
    let evil = Evil::start(good, trick);
    let dir = tempfile::tempdir().unwrap();
    let images = images(dir.path(), &evil.host(), headers_wait, body_stall);
    let name = format!("{}/app:1", evil.host());
    let pulled = tokio::time::timeout(Duration::from_secs(120), images.pull(&name, &Credentials::none(), |_| {})).await;
    let message = pulled.expect("a pull ends").unwrap_err().message();
    assert!(message.starts_with(&format!("failed to pull and unpack image \"{name}\"")), "{message}");
    assert!(message.len() < 4096, "the registry writes our errors: {} bytes", message.len());
    assert!(images.list().unwrap().is_empty());
    for folder in ["layers", "images/tmp"] {
        let left: Vec<_> = std::fs::read_dir(dir.path().join(folder)).unwrap().flatten().collect();
        assert!(left.is_empty(), "{message}: left {left:?}");
    }
    (message, evil.asked.load(Ordering::SeqCst))
}

async fn refused(good: Good, words: &str, trick: impl Fn(&str, usize, &mut TcpStream) -> bool + Send + Sync + 'static) {
    let (message, _) = refusal(good, trick).await;
    assert!(message.contains(words), "wanted {words:?}: {message}");
}

/// From an honest server but for the trick, whose answers are waited for 700 ms.
async fn without_head(words: &str, trick: impl Fn(&str, usize, &mut TcpStream) -> bool + Send + Sync + 'static) {
    let (message, _) = refusal_within(Duration::from_millis(700), PATIENCE, honest(), trick).await;
    assert!(message.contains(words), "wanted {words:?}: {message}");
}

/// The same where it is the body that is waited for, so many milliseconds.
async fn without_body(
    stall_ms: u64,
    words: &str,
    trick: impl Fn(&str, usize, &mut TcpStream) -> bool + Send + Sync + 'static,
) {
    let (message, _) = refusal_within(PATIENCE, Duration::from_millis(stall_ms), honest(), trick).await;
    assert!(message.contains(words), "wanted {words:?}: {message}");
}

/// A trick on what is asked for by one part of the path.
fn on(
    part: &'static str,
    trick: impl Fn(&mut TcpStream) -> bool + Send + Sync + 'static,
) -> impl Fn(&str, usize, &mut TcpStream) -> bool + Send + Sync + 'static {
    move |path, _, stream| path.contains(part) && trick(stream)
}

fn layer_path() -> String {
    format!("/blobs/sha256:{}", digest(&honest().layer))
}

#[tokio::test]
async fn an_honest_image_of_the_same_server_is_pulled() {
    let evil = Evil::start(honest(), |_, _, _| false);
    let dir = tempfile::tempdir().unwrap();
    let images = images(dir.path(), &evil.host(), PATIENCE, PATIENCE);
    images.pull(&format!("{}/app:1", evil.host()), &Credentials::none(), |_| {}).await.unwrap();
    assert_eq!(images.list().unwrap().len(), 1);
}

#[tokio::test]
async fn manifests_that_lie_are_refused() {
    let config = honest().config;
    let some = "a".repeat(64);
    let many = vec![(some.as_str(), 1); 9];
    for (body, words) in [
        ("<html>".to_owned(), "cannot read a manifest"),
        ("[".repeat(60_000), "cannot read a manifest"),
        ("{}".to_owned(), "unsupported manifest media type"),
        (manifest(&config, &[("../../../../etc/passwd", 1)]), "is no sha256 digest"),
        (manifest(&config, &[("zz", 1)]), "is no sha256 digest"),
        (manifest(&config, &many), "image has 9 layers and 1 diff ids"),
        (manifest(&config, &[(&some, 1 << 40)]), "is above the limit of 1048576 bytes"),
        (manifest(&config, &[]), "image has 0 layers and 1 diff ids"),
        (manifest(b"another", &[(&some, 1)]), "unexpected digest of sha256:"),
        (manifest(&config, &[(&some, 1)]).replace("tar+gzip", "tar+gzip+encrypted"), "unsupported layer media type"),
        (manifest(&config, &[(&some, 1)]).replace("layer.v1", "flavour.v1"), "unsupported layer media type"),
    ] {
        refused(honest(), words, on("/manifests/", move |stream| whole(stream, body.as_bytes()))).await;
    }
}

#[tokio::test]
async fn an_index_of_indexes_without_end_is_refused() {
    let index = |of: &str| {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:{}","size":{},"platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#,
            digest(of.as_bytes()),
            of.len()
        )
    };
    let mut documents = vec![honest().manifest];
    for _ in 0..6 {
        documents.push(index(documents.last().unwrap()));
    }
    refused(honest(), "indexes are nested too deeply", move |path, _, stream| {
        let wanted = documents.iter().find(|one| path.ends_with(&digest(one.as_bytes())));
        path.contains("/manifests/") && whole(stream, wanted.or(documents.last()).unwrap().as_bytes())
    })
    .await;
}

#[tokio::test]
async fn answers_without_end_are_cut_at_their_limit() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = [b"1000\r\n".to_vec(), vec![b' '; 4096], b"\r\n".to_vec()].concat();
    let (one, two) = (chunk.clone(), chunk.clone());
    refused(honest(), "is above the limit of 65536 bytes", on("/manifests/", move |to| endless(to, chunked, &one)))
        .await;
    let layer = layer_path();
    refused(honest(), "is above the limit of", move |path, _, to| path.ends_with(&layer) && endless(to, chunked, &two))
        .await;
    let header = |to: &mut TcpStream| endless(to, "HTTP/1.1 200 OK\r\n", b"X-More: of the same\r\n");
    let line = |to: &mut TcpStream| endless(to, "HTTP/1.1 200 ", &[b'a'; 4096]);
    let interim = |to: &mut TcpStream| endless(to, "", b"HTTP/1.1 103 Early Hints\r\n\r\n");
    tokio::join!(
        without_head("failed to do request", on("/manifests/", header)),
        without_head("failed to do request", on("/manifests/", line)),
        without_head("failed to do request", on("/manifests/", interim)),
    );
}

#[tokio::test]
async fn a_registry_that_is_silent_is_given_up() {
    let start = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{";
    let layer = layer_path();
    tokio::join!(
        without_head("no answer for 700ms", on("/manifests/", |to| silent(to, b""))),
        without_head("no answer for 700ms", on("/manifests/", |to| silent(to, b"HTTP/1.1 200 OK\r\nX-A: "))),
        without_body(500, "nothing came for 500ms", on("/manifests/", |to| silent(to, start))),
        without_body(500, "nothing came for 500ms", move |path, _, to| path.ends_with(&layer) && silent(to, start)),
    );
}

#[tokio::test]
async fn a_registry_that_drips_is_given_up() {
    let layer = layer_path();
    without_body(1500, "less than 4096 bytes came", move |path, _, to| {
        if !path.ends_with(&layer) {
            return false;
        }
        raw(to, b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        let before = std::time::Instant::now();
        // A drop each time that the client would still wait for.
        while before.elapsed() < PATIENCE && std::io::Write::write_all(to, b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
        true
    })
    .await;
}

#[tokio::test]
async fn a_registry_that_cuts_off_is_asked_a_few_times_only() {
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"schema";
    let (message, asked) = refusal(honest(), on("/manifests/", |to| raw(to, cut))).await;
    assert!(message.contains("failed to do request") && asked == 4, "{asked}: {message}");
    let layer = layer_path();
    let (message, asked) = refusal(honest(), move |path, _, to| path.ends_with(&layer) && raw(to, cut)).await;
    assert!(message.contains("failed to do request") || message.contains("above the limit"), "{message}");
    assert!(asked <= 6, "{asked}: {message}");
    tokio::join!(
        refused(honest(), "failed to do request", on("/manifests/", |to| raw(to, b"SSH-2.0-OpenSSH_9.2\r\n"))),
        refused(honest(), "failed to do request", on("/manifests/", |to| raw(to, b""))),
    );
}

#[tokio::test]
async fn layers_that_are_not_what_they_claim_are_refused() {
    let other = Layer::new().file("b", b"2").bytes();
    let wrong_diff = Good::of(&other, &"0".repeat(64));
    refused(wrong_diff, "has the diff id sha256:", |_, _, _| false).await;
    let layer = layer_path();
    let length = honest().layer.len();
    refused(honest(), "unexpected digest of a layer", move |path, _, to| {
        path.ends_with(&layer) && whole(to, &vec![0; length])
    })
    .await;
    refused(Good::new(b"not a tar at all"), "failed to pull", |_, _, _| false).await;
    // Small on the wire, large on the disk.
    let bomb = Layer::new().file("zeros", &vec![0; 4 << 20]).bytes();
    refused(Good::new(&bomb), "the layer's unpacked size is above the limit of 1048576", |_, _, _| false).await;
    let crowd = (0..200).fold(Layer::new(), |layer, n| layer.file(&format!("f{n}"), b""));
    refused(Good::new(&crowd.bytes()), "the number of files is above the limit of 100", |_, _, _| false).await;
    let mut tail = Layer::new().file("a", b"1").bytes();
    tail.extend(vec![0; 3 << 20]);
    refused(Good::new(&tail), "what follows the end of the layer's tar is above the limit of 1048576", |_, _, _| false)
        .await;
    for evil in [
        Layer::new().file("../../../../tmp/bramble-out", b"x"),
        Layer::new().symlink("way", "/tmp").file("way/../../tmp/bramble-out", b"x"),
        Layer::new().hard_link("passwd", "../../../../etc/passwd"),
        Layer::new().symlink("out", "/etc").hard_link("mine", "out/passwd"),
    ] {
        let (message, _) = refusal(Good::new(&evil.bytes()), |_, _, _| false).await;
        assert!(message.contains("leaves the root") || message.contains("not in the layer"), "{message}");
    }
    assert!(!Path::new("/tmp/bramble-out").exists());
}

#[tokio::test]
async fn redirects_and_logins_without_end_are_refused() {
    let around = |path: &str, _: usize, to: &mut TcpStream| {
        raw(to, format!("HTTP/1.1 307 Away\r\nLocation: {path}\r\nContent-Length: 0\r\n\r\n").as_bytes())
    };
    refused(honest(), "too many places", around).await;
    let inwards = |_: &str, _: usize, to: &mut TcpStream| {
        raw(to, b"HTTP/1.1 307 Away\r\nLocation: http://169.254.169.254/secrets\r\nContent-Length: 0\r\n\r\n")
    };
    refused(honest(), "plain HTTP is not allowed for this host", inwards).await;
    let file = |_: &str, _: usize, to: &mut TcpStream| {
        raw(to, b"HTTP/1.1 307 Away\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n")
    };
    refused(honest(), "failed to pull", file).await;
    let never = |_: &str, _: usize, to: &mut TcpStream| {
        raw(to, b"HTTP/1.1 401 No\r\nWWW-Authenticate: Magic realm=\"x\"\r\nContent-Length: 0\r\n\r\n")
    };
    refused(honest(), "no way to log in that is known", never).await;
    for (token, words) in [
        ("{}".to_owned(), "holds no token"),
        ("[[[".to_owned(), "holds no token"),
        (format!("{{\"token\":\"{}\"}}", "a".repeat(300 << 10)), "a token is above the limit of 262144 bytes"),
        ("{\"token\":\"bad\\nline\"}".to_owned(), "failed to do request"),
        ("{\"token\":\"useless\"}".to_owned(), "authorization failed: 401"),
    ] {
        let evil_token = move |path: &str, _: usize, to: &mut TcpStream| {
            let port = to.local_addr().unwrap().port();
            if path.starts_with("/token") {
                return whole(to, token.as_bytes());
            }
            let head = format!(
                "HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer realm=\"http://127.0.0.1:{port}/token\"\r\nContent-Length: 0\r\n\r\n"
            );
            raw(to, head.as_bytes())
        };
        refused(honest(), words, evil_token).await;
    }
}
