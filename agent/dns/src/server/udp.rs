//! UDP: what is known is answered by the task that hears it.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::Semaphore;

use crate::message::UDP_BYTES_MAX;
use crate::respond::{Responder, Step, Transport};

/// Queries that wait for upstreams; more are told so at once.
const WAITING_MAX: usize = 1024;
/// After an error of the socket itself, so that a lasting one does not eat the machine.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) async fn serve(responder: Arc<Responder>, socket: UdpSocket) {
    let socket = Arc::new(socket);
    let room = Arc::new(Semaphore::new(WAITING_MAX));
    let mut buffer = vec![0; UDP_BYTES_MAX];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(heard) => heard,
            Err(error) => {
                tracing::warn!(%error, "cannot hear DNS queries");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let answer = match responder.respond(&buffer[..length], Transport::Udp) {
            Step::Silence => continue,
            Step::Answer(answer) => answer,
            Step::Ask(pending) => match room.clone().try_acquire_owned() {
                Err(_) => responder.refuse(&pending),
                Ok(permit) => {
                    let (responder, socket) = (responder.clone(), socket.clone());
                    tokio::spawn(async move {
                        let answer = responder.ask(&pending).await;
                        // A client that is gone is no loss.
                        let _gone = socket.send_to(&answer, client).await;
                        drop(permit);
                    });
                    continue;
                }
            },
        };
        let _gone = socket.send_to(&answer, client).await;
    }
}
