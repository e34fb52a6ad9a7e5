//! One GET, its redirects followed as long as they stay on the host, within one limit of time.

use std::io;
use std::time::Duration;

use ::http::{HeaderName, HeaderValue, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::address::{dial_error, join, words};
use super::tls;
use crate::machine::Outcome;

/// As the kubelet has it; what comes after is not read.
const BODY_BYTES_MAX: usize = 10 << 10;
const HEAD_BYTES_MAX: usize = 64 << 10;
const REDIRECTS_MAX: usize = 10;
/// What an Event keeps of a body.
const MESSAGE_BYTES_MAX: usize = 1024;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    https: bool,
    host: String,
    port: u16,
    /// Path and query.
    target: String,
}

#[derive(Debug, Clone)]
pub(super) struct Request {
    pub url: Url,
    /// A Host header of the user's own.
    pub host: Option<String>,
    pub headers: Vec<(String, String)>,
}

#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    body: Vec<u8>,
}

impl Url {
    pub fn new(https: bool, host: &str, port: u16, path: &str) -> Self {
        Self { https, host: host.to_owned(), port, target: target(path) }
    }

    #[cfg(any(fuzzing, debug_assertions))]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Where a Location leads from here; `None` for what is not HTTP.
    pub fn join(&self, location: &str) -> Option<Self> {
        let (https, rest) = match location.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some((scheme, _)) if !scheme.contains(['/', '?', '#']) => return None,
            _ => match location.strip_prefix("//") {
                Some(rest) => (self.https, rest),
                None => return Some(Self { target: target(&self.relative(location)), ..self.clone() }),
            },
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let authority = authority.rsplit('@').next().unwrap_or(authority);
        let usual = if https { 443 } else { 80 };
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':')),
            None => authority.rsplit_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        let port = match port {
            Some(port) if !port.is_empty() => port.parse().ok()?,
            _ => usual,
        };
        Some(Self::new(https, host, port, path))
    }

    fn relative(&self, location: &str) -> String {
        let path = self.target.split('?').next().unwrap_or_default();
        match location.chars().next() {
            Some('/') => location.to_owned(),
            Some('?') => format!("{path}{location}"),
            None | Some('#') => self.target.clone(),
            Some(_) => format!("{}/{location}", path.rsplit_once('/').map_or("", |(folder, _)| folder)),
        }
    }

    fn authority(&self) -> String {
        join(&self.host, self.port)
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(formatter, "{scheme}://{}{}", self.authority(), self.target)
    }
}

/// A path as it may stand in a request line: from the root, without fragment, what is not allowed there encoded.
fn target(path: &str) -> String {
    let path = path.split('#').next().unwrap_or_default();
    let mut target = String::with_capacity(path.len() + 1);
    if !path.starts_with('/') {
        target.push('/');
    }
    for byte in path.bytes() {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => target.push_str(&format!("%{byte:02X}")),
            0x21..=0x7e => target.push(char::from(byte)),
            _ => target.push_str(&format!("%{byte:02X}")),
        }
    }
    target
}

impl Answer {
    pub fn outcome(&self) -> Outcome {
        match self.status.as_u16() {
            200..=299 => Outcome::Success,
            300..=399 => {
                let body = String::from_utf8_lossy(&self.body[..self.body.len().min(MESSAGE_BYTES_MAX)]);
                Outcome::Warning(format!("Probe terminated redirects, Response body: {body}"))
            }
            // The body is left out: it may hold what a reader of Events must not see.
            code => Outcome::Failure(format!("HTTP probe failed with statuscode: {code}")),
        }
    }
}

/// The last answer, or why there is none.
pub(super) async fn get(request: &Request, limit: Option<Duration>) -> Result<Answer, String> {
    let asking = follow(request);
    let Some(limit) = limit else { return asking.await };
    tokio::time::timeout(limit, asking).await.unwrap_or_else(|_| {
        Err(format!(
            "Get \"{}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
            request.url
        ))
    })
}

async fn follow(request: &Request) -> Result<Answer, String> {
    let mut now = request.clone();
    for _ in 0..REDIRECTS_MAX {
        let (answer, location) = ask(&now).await.map_err(|error| format!("Get \"{}\": {error}", now.url))?;
        let redirects = matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308);
        let Some(location) = location.filter(|_| redirects) else { return Ok(answer) };
        let next = now.url.join(&location);
        let Some(next) = next.filter(|next| next.host == request.url.host) else { return Ok(answer) };
        if location.contains("://") {
            now.host = None;
        }
        now.url = next;
    }
    Err(format!("Get \"{}\": stopped after {REDIRECTS_MAX} redirects", now.url))
}

async fn ask(request: &Request) -> Result<(Answer, Option<String>), String> {
    let url = &request.url;
    let stream = TcpStream::connect((url.host.as_str(), url.port)).await;
    let stream = stream.map_err(|error| dial_error(&url.authority(), &error))?;
    let _ = stream.set_nodelay(true);
    if url.https {
        exchange(tls::connect(&url.host, stream).await?, request).await
    } else {
        exchange(stream, request).await
    }
}

async fn exchange<S>(stream: S, request: &Request) -> Result<(Answer, Option<String>), String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let host = request.host.clone().unwrap_or_else(|| request.url.authority());
    let mut message = ::http::Request::get(&request.url.target)
        .header(header::HOST, host)
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    for (name, value) in &request.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
        let value = HeaderValue::from_str(value).map_err(|error| error.to_string())?;
        message.headers_mut().append(name, value);
    }
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX).title_case_headers(true);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|error| failure(&error))?;
    let conversation = async {
        let response = sender.send_request(message).await.map_err(|error| failure(&error))?;
        let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        let (status, location) = (response.status(), location.map(str::to_owned));
        let body = read(response.into_body()).await?;
        Ok((Answer { status, body }, location))
    };
    // Not a task of its own: it ends with this future.
    tokio::pin!(conversation);
    tokio::select! {
        answer = &mut conversation => answer,
        _ = connection => conversation.await,
    }
}

async fn read(mut body: Incoming) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failure(&error))?;
        let Ok(data) = frame.into_data() else { continue };
        let room = BODY_BYTES_MAX - bytes.len();
        bytes.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() >= room {
            break;
        }
    }
    Ok(bytes)
}

/// What the socket said, where it said something; else what hyper makes of it.
pub(super) fn failure(error: &hyper::Error) -> String {
    if error.is_incomplete_message() {
        return "EOF".to_owned();
    }
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return words(io, "read: ");
        }
        source = inner.source();
    }
    error.to_string()
}
