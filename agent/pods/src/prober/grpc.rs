//! `grpc.health.v1.Health/Check` over HTTP/2 in the clear. Its two messages have one field each, so they are encoded
//! here by hand.

use std::time::Duration;

use ::http::{HeaderMap, Request, header};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::address::{dial_error, join};
use super::http::failure;
use crate::machine::{Outcome, words};

/// A HealthCheckResponse has two bytes.
const ANSWER_BYTES_MAX: usize = 1024;
const HEADERS_BYTES_MAX: u32 = 16 << 10;
const SERVING: u64 = 1;
const DEADLINE_EXCEEDED: u32 = 4;
const UNIMPLEMENTED: u32 = 12;
const UNKNOWN: u32 = 2;
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// Why a call has no answer.
enum Refusal {
    Connect(String),
    Call { code: u32, message: String },
}

pub(super) async fn check(host: &str, port: u16, service: &str, limit: Duration) -> Outcome {
    let address = join(host, port);
    let after = words(limit.as_secs().cast_signed());
    let dialled = tokio::time::timeout(limit, TcpStream::connect((host, port)));
    let begun = tokio::time::Instant::now();
    let stream = match dialled.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let error = dial_error(&address, &error);
            let text = "connection error: desc = \"transport: Error while dialing: ";
            return Outcome::Failure(format!("error: failed to connect service at {address:?}: {text}{error}\""));
        }
        Err(_) => {
            let text =
                format!("timeout: failed to connect service {address:?} within {after}: context deadline exceeded");
            return Outcome::Failure(text);
        }
    };
    let left = limit.saturating_sub(begun.elapsed());
    let called = tokio::time::timeout(left, call(stream, &address, service)).await;
    let late = || Outcome::Failure(format!("timeout: health rpc did not complete within {after}"));
    match called {
        Err(_) | Ok(Err(Refusal::Call { code: DEADLINE_EXCEEDED, .. })) => late(),
        Ok(Ok(SERVING)) => Outcome::Success,
        Ok(Ok(status)) => {
            let name = match status {
                0 => "UNKNOWN".to_owned(),
                2 => "NOT_SERVING".to_owned(),
                3 => "SERVICE_UNKNOWN".to_owned(),
                other => other.to_string(),
            };
            Outcome::Failure(format!("service unhealthy (responded with {name:?})"))
        }
        Ok(Err(Refusal::Connect(error))) => {
            Outcome::Failure(format!("error: failed to connect service at {address:?}: {error}"))
        }
        Ok(Err(Refusal::Call { code: UNIMPLEMENTED, message })) => Outcome::Failure(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {message}"
        )),
        Ok(Err(Refusal::Call { code, message })) => {
            let code = CODES.get(code as usize).copied().unwrap_or("Unknown");
            Outcome::Failure(format!("error: health rpc probe failed: rpc error: code = {code} desc = {message}"))
        }
    }
}

/// The serving status that the server answers.
async fn call(stream: TcpStream, address: &str, service: &str) -> Result<u64, Refusal> {
    let broken = |error: &hyper::Error| Refusal::Connect(failure(error));
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.max_header_list_size(HEADERS_BYTES_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, "kube-probe/1.35")
        .body(Full::new(encode(service)))
        .map_err(|error| Refusal::Call { code: UNKNOWN, message: error.to_string() })?;
    let conversation = async {
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        if !response.status().is_success() {
            let message = format!("unexpected HTTP status code received from server: {}", response.status());
            return Err(Refusal::Call { code: UNKNOWN, message });
        }
        refused(response.headers())?;
        let (bytes, trailers) = read(response.into_body()).await.map_err(|error| broken(&error))?;
        refused(&trailers)?;
        read_status(&bytes).ok_or_else(|| Refusal::Call { code: UNKNOWN, message: "unreadable answer".to_owned() })
    };
    tokio::pin!(conversation);
    tokio::select! {
        status = &mut conversation => status,
        _ = connection => conversation.await,
    }
}

fn refused(headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status").map(|code| code.parse().unwrap_or(UNKNOWN)) {
        None | Some(0) => Ok(()),
        Some(code) => Err(Refusal::Call { code, message: text("grpc-message").unwrap_or_default().to_owned() }),
    }
}

async fn read(mut body: Incoming) -> Result<(BytesMut, HeaderMap), hyper::Error> {
    let (mut bytes, mut trailers) = (BytesMut::new(), HeaderMap::new());
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => {
                let room = ANSWER_BYTES_MAX - bytes.len();
                if data.len() > room {
                    break;
                }
                bytes.extend_from_slice(&data);
            }
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    Ok((bytes, trailers))
}

/// A HealthCheckRequest in a frame: not compressed, its length, and field 1, the service.
fn encode(service: &str) -> Bytes {
    let mut message = Vec::with_capacity(service.len() + 8);
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend_from_slice(&message);
    frame.into()
}

/// Field 1 of a HealthCheckResponse in a frame; zero, UNKNOWN, where it is left out.
pub fn read_status(frame: &[u8]) -> Option<u64> {
    let (head, rest) = frame.split_at_checked(5)?;
    let length = u32::from_be_bytes(head[1..].try_into().ok()?) as usize;
    let mut message = rest.get(..length).filter(|_| head[0] == 0)?;
    let mut status = 0;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match key & 7 {
            0 => {
                let value = varint(&mut message)?;
                if key >> 3 == 1 {
                    status = value;
                }
            }
            1 => message = message.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
