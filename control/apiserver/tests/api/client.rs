//! A small HTTPS client: one connection a request, so that a test sees exactly what travels.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::server::Server;

/// Where most requests go.
pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub const JSON: &str = "application/json";

pub enum As {
    Admin,
    Anonymous,
}

/// A TLS connection, with the admin's certificate or without any.
pub async fn connect(server: &Server, who: As) -> TlsStream<TcpStream> {
    let builder = rustls::ClientConfig::builder().with_root_certificates(server.authority.roots());
    let config = match who {
        As::Anonymous => builder.with_no_client_auth(),
        As::Admin => {
            let (_, _, certificate, key) = server.authority.issue("admin", "system:masters", &[]);
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    let stream = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    let name = "localhost".try_into().unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

pub async fn send(server: &Server, who: As, request: Request<Full<Bytes>>) -> http::Response<Incoming> {
    let stream = TokioIo::new(connect(server, who).await);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(request).await.unwrap();
    // The connection lives as long as its body.
    tokio::spawn(async move {
        let _kept = sender.ready().await;
    });
    response
}

pub fn get_request(path: &str, accept: &str) -> Request<Full<Bytes>> {
    Request::get(path).header("host", "localhost").header("accept", accept).body(Full::default()).unwrap()
}

pub async fn get(server: &Server, path: &str) -> (StatusCode, Value) {
    get_as(server, As::Admin, path, JSON).await
}

pub async fn get_as(server: &Server, who: As, path: &str, accept: &str) -> (StatusCode, Value) {
    let (code, _, body) = get_all(server, who, path, accept).await;
    (code, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

pub async fn get_all(server: &Server, who: As, path: &str, accept: &str) -> (StatusCode, HeaderMap, Bytes) {
    let response = send(server, who, get_request(path, accept)).await;
    let (code, headers) = (response.status(), response.headers().clone());
    (code, headers, response.into_body().collect().await.unwrap().to_bytes())
}

/// An open watch, line by line.
pub struct Lines {
    body: Incoming,
    rest: Vec<u8>,
}

impl Lines {
    pub async fn open(server: &Server, path: &str, accept: &str) -> Self {
        let response = send(server, As::Admin, get_request(path, accept)).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        Self { body: response.into_body(), rest: Vec::new() }
    }

    /// The next event; none at the end.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            self.rest.extend_from_slice(&frame.into_data().unwrap());
        }
    }
}
