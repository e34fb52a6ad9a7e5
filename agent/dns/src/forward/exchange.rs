//! One question, one upstream.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::message::{Answer, Query, TCP_BYTES_MAX, rcode};

const UDP_TIME_MAX: Duration = Duration::from_millis(1500);
const TCP_TIME_MAX: Duration = Duration::from_millis(2500);
/// Datagrams that are no answer to the question, before the upstream is given up for this time.
const STRANGERS_MAX: usize = 20;
/// More than we ask for; who sends more than asked is read cut, which is malformed.
const DATAGRAM_BYTES_MAX: usize = 4096;

/// Asks by UDP from a port of its own with a random id; by TCP where the answer was cut.
pub(super) async fn exchange(upstream: SocketAddr, query: &Query) -> io::Result<Answer> {
    let mut answer = udp(upstream, query, true).await?;
    // Servers from before EDNS say one of these, or do as if they had not heard.
    if [rcode::FORMAT_ERROR, rcode::NOT_IMPLEMENTED].contains(&answer.rcode) {
        answer = udp(upstream, query, false).await?;
    }
    if answer.truncated {
        answer = timeout(TCP_TIME_MAX, tcp(upstream, query)).await??;
    }
    Ok(answer)
}

async fn udp(upstream: SocketAddr, query: &Query, with_edns: bool) -> io::Result<Answer> {
    let any = if upstream.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    // The kernel chooses a random port; connected, the socket hears nobody else.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(upstream).await?;
    let id = random()?;
    socket.send(&query.write(id, with_edns)).await?;
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    let hear = async {
        for _ in 0..STRANGERS_MAX {
            let length = socket.recv(&mut buffer).await?;
            if let Ok(answer) = Answer::read(&buffer[..length], query, id) {
                return Ok(answer);
            }
        }
        Err(io::Error::from(io::ErrorKind::InvalidData))
    };
    timeout(UDP_TIME_MAX, hear).await?
}

async fn tcp(upstream: SocketAddr, query: &Query) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(upstream).await?;
    let id = random()?;
    let question = query.write(id, true);
    let mut framed = u16::try_from(question.len()).map_err(io::Error::other)?.to_be_bytes().to_vec();
    framed.extend_from_slice(&question);
    stream.write_all(&framed).await?;
    let length = usize::from(stream.read_u16().await?);
    debug_assert!(length <= TCP_BYTES_MAX);
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    let answer = Answer::read(&message, query, id).map_err(io::Error::other)?;
    if answer.truncated { Err(io::Error::from(io::ErrorKind::InvalidData)) } else { Ok(answer) }
}

fn random() -> io::Result<u16> {
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(u16::from_be_bytes(bytes))
}
