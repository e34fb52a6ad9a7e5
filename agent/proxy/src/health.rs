//! The health checks of Services whose external policy is Local: a load balancer asks each node whether it has
//! endpoints. The answer is kube-proxy's.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::{Ipv4Addr, TcpListener as StdListener},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use agent_nft::inside;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::AbortHandle,
};

use crate::service::ServiceKey;

const REQUEST_BYTES_MAX: usize = 8 << 10;
const REQUEST_SECONDS_MAX: u64 = 5;
/// Of each Service at once.
const CONNECTIONS_MAX: usize = 32;
/// After an error of accepting, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

pub(crate) struct Health {
    netns: Option<PathBuf>,
    servers: HashMap<u16, Server>,
}

struct Server {
    answer: watch::Sender<Answer>,
    task: AbortHandle,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    service: ServiceKey,
    local_endpoints: usize,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Health {
    pub fn new(netns: Option<PathBuf>) -> Self {
        Self { netns, servers: HashMap::new() }
    }

    /// Serves what is wanted: for each Service its port and the number of its endpoints here.
    pub fn set(&mut self, wanted: &BTreeMap<ServiceKey, (u16, usize)>) {
        let mut by_port: BTreeMap<u16, Answer> = BTreeMap::new();
        for (service, (port, count)) in wanted {
            by_port.entry(*port).or_insert_with(|| Answer { service: service.clone(), local_endpoints: *count });
        }
        self.servers.retain(|port, _| by_port.contains_key(port));
        for (port, answer) in by_port {
            if let Some(server) = self.servers.get(&port) {
                server.answer.send_if_modified(|old| {
                    *old != answer && {
                        *old = answer.clone();
                        true
                    }
                });
                continue;
            }
            match self.listen(port) {
                Ok(listener) => {
                    let sender = watch::Sender::new(answer);
                    let task = tokio::spawn(serve(listener, sender.subscribe())).abort_handle();
                    self.servers.insert(port, Server { answer: sender, task });
                }
                Err(error) => {
                    let (namespace, name) = &answer.service;
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the health check of {namespace}/{name} cannot listen on port {port}"
                    );
                }
            }
        }
    }

    fn listen(&self, port: u16) -> io::Result<TcpListener> {
        let listener = inside(self.netns.as_deref(), || StdListener::bind((Ipv4Addr::UNSPECIFIED, port)));
        let listener = listener.map_err(io::Error::other)??;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    }
}

async fn serve(listener: TcpListener, answer: watch::Receiver<Answer>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let permit = room.clone().acquire_owned().await;
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let response = answer.borrow().response();
        tokio::spawn(async move {
            let _permit = permit;
            // Who does not ask in time, or goes away, gets no answer.
            let _ = tokio::time::timeout(Duration::from_secs(REQUEST_SECONDS_MAX), respond(stream, response)).await;
        });
    }
}

async fn respond(mut stream: TcpStream, response: String) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if request.len() > REQUEST_BYTES_MAX || stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await
}

impl Answer {
    fn response(&self) -> String {
        let status = if self.local_endpoints > 0 { "200 OK" } else { "503 Service Unavailable" };
        let ((namespace, name), count) = (&self.service, self.local_endpoints);
        let body = format!(
            "{{\n\t\"service\": {{\n\t\t\"namespace\": \"{namespace}\",\n\t\t\"name\": \"{name}\"\n\t}},\n\
             \t\"localEndpoints\": {count},\n\t\"serviceProxyHealthy\": true\n}}"
        );
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n\
             X-Load-Balancing-Endpoint-Weight: {count}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }
}
