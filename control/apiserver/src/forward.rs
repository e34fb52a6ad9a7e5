//! `pods/portforward`: connections to a pod's ports, two SPDY streams each, over SPDY itself or in a WebSocket.

use std::collections::HashMap;
use std::sync::Arc;

use control_api::Status;
use control_api::stream::ForwardRequest;
use http::Response;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, WriteHalf};
use tokio::task::JoinSet;

use crate::api::Api;
use crate::exec;
use crate::log;
use crate::node::Duplex;
use crate::pipeline::Incomer;
use crate::respond::Body;
use crate::route::ResourcePath;
use crate::spdy::{self, Input, Stream, StreamReader, StreamWriter};
use crate::tunnel::Tunnel;
use crate::upgrade::{self, Served, Transport};

const PROTOCOLS: Served = Served { websocket: &["SPDY/3.1+portforward.k8s.io"], spdy: &["portforward.k8s.io"] };
/// Read of a pod's connection at a time.
const CHUNK_BYTES: usize = 32 << 10;

pub async fn answer(api: &Arc<Api>, at: &ResourcePath, mut incomer: Incomer) -> Result<Response<Body>, Status> {
    let pod = log::pod(api, at)?;
    let agreed = upgrade::agree(incomer.http.headers(), &PROTOCOLS)?;
    let node = exec::host(&pod, at)?.to_owned();
    let target = Target {
        api: api.clone(),
        node,
        request: ForwardRequest {
            namespace: at.namespace.clone(),
            pod: at.name.clone(),
            pod_uid: pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned(),
            ..ForwardRequest::default()
        },
    };
    let upgrading = hyper::upgrade::on(&mut incomer.http);
    let (closed, counted, transport) = (api.closed(), api.metrics.watching(), agreed.transport);
    tokio::spawn(async move {
        let Ok(connection) = upgrading.await else { return };
        let io = TokioIo::new(connection);
        let carry = async {
            match transport {
                Transport::WebSocket => serve(Tunnel::new(io).await, target).await,
                Transport::Spdy => serve(io, target).await,
            }
        };
        tokio::select! {
            () = carry => {}
            () = closed => {}
        }
        drop(counted);
    });
    Ok(agreed.switching())
}

/// The pod that connections go to.
#[derive(Clone)]
struct Target {
    api: Arc<Api>,
    node: String,
    request: ForwardRequest,
}

/// The two streams of a connection, of which one may be there before the other.
#[derive(Default)]
struct Pair {
    data: Option<Stream>,
    error: Option<Stream>,
}

/// Until the client leaves; its connections end with it.
async fn serve<S: AsyncRead + AsyncWrite>(io: S, target: Target) {
    let (mut opened, run) = spdy::open(io);
    let mut run = std::pin::pin!(run);
    // Both are bounded by the streams that a connection may have.
    let mut pairs: HashMap<String, Pair> = HashMap::new();
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            ended = &mut run => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a client's forwarded ports ended");
                }
                return;
            }
            stream = opened.recv() => stream,
            Some(_ended) = connections.join_next() => continue,
        };
        let Some(stream) = stream else { return };
        if let Some((port, data, error)) = pair(&mut pairs, stream).await {
            let mut target = target.clone();
            target.request.port = port;
            connections.spawn(connection(target, data, error));
        }
    }
}

/// Puts a stream beside its other half; one that cannot be understood is reset.
async fn pair(pairs: &mut HashMap<String, Pair>, stream: Stream) -> Option<(u16, Stream, Stream)> {
    let id = stream.headers.text("requestid").to_owned();
    let port = stream.headers.text("port").parse::<u16>().unwrap_or(0);
    let known = matches!(stream.headers.text("streamtype"), "data" | "error");
    if !known || id.is_empty() || port == 0 {
        let _gone = stream.writer.reset().await;
        return None;
    }
    let pair = pairs.entry(id.clone()).or_default();
    let slot = if stream.headers.text("streamtype") == "data" { &mut pair.data } else { &mut pair.error };
    if let Some(twice) = slot.replace(stream) {
        let _gone = twice.writer.reset().await;
    }
    if pair.data.is_none() || pair.error.is_none() {
        return None;
    }
    let Pair { data: Some(data), error: Some(error) } = pairs.remove(&id)? else { return None };
    Some((port, data, error))
}

async fn connection(target: Target, data: Stream, error: Stream) {
    let ForwardRequest { pod, pod_uid, port, .. } = target.request.clone();
    let made = match target.api.nodes() {
        Some(nodes) => nodes.forward(&target.node, target.request).await,
        None => Err(log::no_nodes()),
    };
    let ended = match made {
        Ok(stream) => carry(stream, data.reader, &data.writer, &error.writer).await,
        Err(status) => {
            let words = format!("error forwarding port {port} to pod {pod}, uid {pod_uid}: {}", status.message);
            let told = error.writer.write(words.as_bytes()).await;
            told.and(error.writer.finish().await).and(data.writer.finish().await)
        }
    };
    if ended.is_err() {
        tracing::debug!(port, "a client left its forwarded port");
    }
}

/// Both directions, each to its own end. kubectl leaves a connection only after the error stream has ended, so that
/// it ends with what the pod says.
async fn carry(
    stream: Box<dyn Duplex>,
    mut from_client: StreamReader,
    to_client: &StreamWriter,
    error: &StreamWriter,
) -> Result<(), spdy::Gone> {
    let (mut from_pod, mut to_pod) = tokio::io::split(stream);
    let down = async {
        let mut chunk = vec![0; CHUNK_BYTES];
        while let Ok(length @ 1..) = from_pod.read(&mut chunk).await {
            to_client.write(&chunk[..length]).await?;
        }
        to_client.finish().await?;
        error.finish().await
    };
    let mut down = std::pin::pin!(down);
    let last = {
        let mut up = std::pin::pin!(up(&mut from_client, &mut to_pod));
        tokio::select! {
            ended = &mut down => {
                ended?;
                // What the client still sends is for the pod.
                up.await;
                return Ok(());
            }
            last = &mut up => last,
        }
    };
    if last == Input::End {
        drop(to_pod.shutdown().await);
        tokio::select! {
            ended = &mut down => return ended,
            _gone = from_client.next() => {}
        }
    }
    // The client wants no more of the connection, but it waits for its error stream to end.
    error.finish().await
}

/// Resolves with `End` or `Gone`.
async fn up(from_client: &mut StreamReader, to_pod: &mut WriteHalf<Box<dyn Duplex>>) -> Input {
    loop {
        match from_client.next().await {
            // What a pod does not read is dropped: what it says may still be of use.
            Input::Data(bytes) => drop(to_pod.write_all(&bytes).await),
            last => return last,
        }
    }
}
