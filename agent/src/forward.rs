//! Connections to pods' ports, as the server asks for them on a user's behalf.

use std::net::IpAddr;

use agent_streams::forward::{connect, connect_to};
use control_api::stream::ForwardRequest;
use control_wire::ForwardCall;
use tokio::net::TcpStream;

use crate::adapters::chain;
use crate::daemon::Node;

pub async fn forward(node: Node, request: ForwardRequest, call: ForwardCall) {
    let mut stream = match dial(&node, &request).await {
        Ok(stream) => stream,
        // The server may be gone; there is no one to tell that to.
        Err(message) => return drop(call.fail(message).await),
    };
    let Ok(mut pipe) = call.connected().await else { return };
    let stopped = pipe.stopped();
    tokio::select! {
        // Each side may end its half before the other.
        _ = tokio::io::copy_bidirectional(&mut stream, &mut pipe) => {}
        // The client is gone: an idle peer would never be told otherwise.
        () = stopped => {}
    }
}

async fn dial(node: &Node, request: &ForwardRequest) -> Result<TcpStream, String> {
    let netns = node.runtime.network_namespace(&request.pod_uid).await;
    let netns = netns.map_err(|_| format!("pod not found (\"{}_{}\")", request.pod, request.namespace))?;
    let stream = match request.address.as_str() {
        "" => connect(netns.as_deref(), request.port).await,
        own => {
            let address: IpAddr = own.parse().map_err(|_| format!("{own:?} is no address"))?;
            connect_to(netns.as_deref(), (address, request.port).into()).await
        }
    };
    let stream = stream.map_err(|error| chain(&error))?;
    // Small pieces must not wait for the peer's delayed acknowledgement; without it they still arrive.
    let _nodelay = stream.set_nodelay(true);
    Ok(stream)
}
