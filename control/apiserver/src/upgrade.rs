//! From a request to a byte stream: WebSocket or SPDY, and the protocol spoken in it.

use control_api::{Reason, Status};
use http::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{HeaderMap, Response};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::respond::{self, Body};

/// Subprotocols that a client of SPDY offers, and the one that is chosen.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const SPDY: &str = "SPDY/3.1";

/// Protocols that a subresource serves over either, the one preferred first.
pub struct Served {
    pub websocket: &'static [&'static str],
    pub spdy: &'static [&'static str],
}

/// What was agreed upon, and the answer that says so.
#[derive(Debug)]
pub struct Agreed {
    pub transport: Transport,
    answer: [(HeaderName, HeaderValue); 4],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    WebSocket,
    Spdy,
}

impl Agreed {
    /// 101.
    pub fn switching(self) -> Response<Body> {
        respond::switching(self.answer)
    }
}

/// What client and server both speak, or why there is nothing.
pub fn agree(headers: &HeaderMap, served: &Served) -> Result<Agreed, Status> {
    let upgrade = headers.get(UPGRADE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if upgrade.eq_ignore_ascii_case("websocket") {
        return websocket(headers, served.websocket);
    }
    if upgrade.eq_ignore_ascii_case(SPDY) {
        return spdy(headers, served.spdy);
    }
    let why = match upgrade {
        "" => "Upgrade request required".to_owned(),
        other => format!("unable to upgrade: {other} is not served; served are websocket and {SPDY}"),
    };
    Err(Status::new(Reason::BadRequest, why))
}

fn offers<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).collect()
}

fn websocket(headers: &HeaderMap, served: &[&'static str]) -> Result<Agreed, Status> {
    let offers = offers(headers, &SEC_WEBSOCKET_PROTOCOL);
    let protocol = served.iter().copied().find(|protocol| offers.contains(protocol)).ok_or_else(|| {
        Status::bad_request(format!("none of the protocols {offers:?} is served; served are {served:?}"))
    })?;
    let key = headers.get(SEC_WEBSOCKET_KEY).ok_or_else(|| Status::bad_request("Sec-WebSocket-Key is missing"))?;
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()));
    Ok(Agreed {
        transport: Transport::WebSocket,
        answer: [
            (CONNECTION, HeaderValue::from_static("Upgrade")),
            (UPGRADE, HeaderValue::from_static("websocket")),
            (SEC_WEBSOCKET_ACCEPT, accept.map_err(|_| Status::bad_request("bad handshake key"))?),
            (SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol)),
        ],
    })
}

/// Which of the protocols is spoken is the client's choice, in its order.
fn spdy(headers: &HeaderMap, served: &[&'static str]) -> Result<Agreed, Status> {
    let offers = offers(headers, &STREAM_PROTOCOL);
    let protocol = offers.iter().find_map(|offer| served.iter().copied().find(|protocol| protocol == offer));
    let protocol = protocol.ok_or_else(|| {
        let (theirs, ours) = (offers.join(" "), served.join(" "));
        let words = format!("unable to negotiate protocol: client supports [{theirs}], server accepts [{ours}]");
        Status::new(Reason::Forbidden, words)
    })?;
    Ok(Agreed {
        transport: Transport::Spdy,
        answer: [
            (CONNECTION, HeaderValue::from_static("Upgrade")),
            (UPGRADE, HeaderValue::from_static(SPDY)),
            (STREAM_PROTOCOL, HeaderValue::from_static(protocol)),
            (HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff")),
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXEC: Served = Served { websocket: &["v5", "v4"], spdy: &["v4"] };

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        pairs.collect()
    }

    fn refused(pairs: &[(&'static str, &'static str)]) -> Status {
        agree(&headers(pairs), &EXEC).expect_err("it is refused")
    }

    #[test]
    fn the_newest_protocol_that_both_speak_is_chosen() {
        let offered = [("upgrade", "websocket"), ("sec-websocket-protocol", "v3, v4, v5"), ("sec-websocket-key", "k")];
        let agreed = agree(&headers(&offered), &EXEC).unwrap();
        assert_eq!((agreed.transport, &agreed.answer[3].1), (Transport::WebSocket, &HeaderValue::from_static("v5")));
        let mut offered = headers(&[("upgrade", "SPDY/3.1")]);
        for protocol in ["v5", "v4", "v3"] {
            offered.append(STREAM_PROTOCOL, HeaderValue::from_static(protocol));
        }
        let agreed = agree(&offered, &EXEC).unwrap();
        assert_eq!((agreed.transport, &agreed.answer[2].1), (Transport::Spdy, &HeaderValue::from_static("v4")));
    }

    #[test]
    fn what_is_not_served_is_refused_in_kubernetes_words() {
        assert_eq!(refused(&[]).message, "Upgrade request required");
        assert!(refused(&[("upgrade", "h2c")]).message.contains("h2c is not served"));
        let old = refused(&[("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", "v2")]);
        assert_eq!(old.message, "unable to negotiate protocol: client supports [v2], server accepts [v4]");
        assert_eq!(old.code(), 403);
        assert_eq!(refused(&[("upgrade", "SPDY/3.1")]).code(), 403);
        assert!(refused(&[("upgrade", "websocket"), ("sec-websocket-protocol", "v1")]).message.contains("v1"));
    }
}
