//! What a client sends after an upgrade to a WebSocket: channels of an exec, and the bytes of a tunnel.
#![no_main]

use control_apiserver::exec::fuzz_channels;
use control_apiserver::tunnel::Tunnel;
use libfuzzer_sys::fuzz_target;
use tokio::io::AsyncReadExt;

fuzz_target!(|data: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let read = fuzz_channels(tokio::io::join(data, tokio::io::sink())).await;
        assert!(read <= data.len(), "more is read than was sent");
        let mut bytes = Vec::new();
        let mut tunnel = Tunnel::new(tokio::io::join(data, tokio::io::sink())).await;
        let _ = tunnel.read_to_end(&mut bytes).await;
        assert!(bytes.len() <= data.len(), "more is read than was sent");
    });
});
