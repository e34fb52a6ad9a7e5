//! A registry that means no good: it serves one image by default, and whatever a test puts in the place of a part.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{Layer, digest};

/// The image that is served where no trick says otherwise.
pub struct Good {
    pub layer: Vec<u8>,
    pub config: Vec<u8>,
    pub manifest: String,
}

impl Good {
    pub fn new(tar: &[u8]) -> Self {
        Self::of(tar, &digest(tar))
    }

    /// An image whose configuration tells `diff_id` of its layer.
    pub fn of(tar: &[u8], diff_id: &str) -> Self {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(tar).unwrap();
        let layer = gzip.finish().unwrap();
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["sha256:{diff_id}"]}}}}"#
        )
        .into_bytes();
        let manifest = manifest(&config, &[(&digest(&layer), layer.len())]);
        Self { layer, config, manifest }
    }
}

/// A manifest of a configuration and of layers by digest and size.
pub fn manifest(config: &[u8], layers: &[(&str, usize)]) -> String {
    let layers: Vec<String> = layers
        .iter()
        .map(|(digest, size)| {
            format!(
                r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:{digest}","size":{size}}}"#
            )
        })
        .collect();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:{}","size":{}}},"layers":[{}]}}"#,
        digest(config),
        config.len(),
        layers.join(",")
    )
}

/// Answers a request for the path, the n-th of all; false leaves it to the good image.
pub type Trick = dyn Fn(&str, usize, &mut TcpStream) -> bool + Send + Sync;

pub struct Evil {
    port: u16,
    pub asked: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl Evil {
    pub fn start(good: Good, trick: impl Fn(&str, usize, &mut TcpStream) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (good, trick): (_, Arc<Trick>) = (Arc::new(good), Arc::new(trick));
        let (counter, ended) = (asked.clone(), over.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (good, trick, number) = (good.clone(), trick.clone(), counter.fetch_add(1, Ordering::SeqCst));
                std::thread::spawn(move || answer(stream, &good, &*trick, number));
            }
        });
        Self { port, asked, over }
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Evil {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn answer(mut stream: TcpStream, good: &Good, trick: &Trick, number: usize) {
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let mut first = String::new();
    if lines.read_line(&mut first).is_err() {
        return;
    }
    let mut line = String::new();
    while lines.read_line(&mut line).is_ok_and(|read| read > 2) {
        line.clear();
    }
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    if trick(&path, number, &mut stream) {
        return;
    }
    let body = match path.rsplit_once("/blobs/sha256:").map(|(_, hex)| hex) {
        Some(hex) if hex == digest(&good.config) => &good.config[..],
        Some(_) => &good.layer,
        None => good.manifest.as_bytes(),
    };
    whole(&mut stream, body);
}

/// An ordinary answer.
pub fn whole(stream: &mut TcpStream, body: &[u8]) -> bool {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    // The client may have gone, which is its right.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    true
}

/// A head and some bytes, as they are.
pub fn raw(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    let _ = stream.write_all(bytes);
    true
}

/// Writes a beginning and then the same piece until the client has enough of it.
pub fn endless(stream: &mut TcpStream, start: &str, piece: &[u8]) -> bool {
    if stream.write_all(start.as_bytes()).is_ok() {
        while stream.write_all(piece).is_ok() {}
    }
    true
}

/// Says nothing more until the client goes.
pub fn silent(stream: &mut TcpStream, start: &[u8]) -> bool {
    let _ = stream.write_all(start).and_then(|()| stream.read_to_end(&mut Vec::new()));
    true
}

/// An honest layer.
pub fn honest() -> Good {
    Good::new(&Layer::new().file("a", b"1").bytes())
}
