//! What a probed container answers: a Location, and the message of a gRPC health service.
#![no_main]

use agent_pods::prober::{Url, read_status};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &str, &str)| {
    let (frame, path, location) = input;
    let _ = read_status(frame);
    let url = Url::new(false, "10.42.0.2", 80, path);
    for url in [Some(url.clone()), url.join(location)].into_iter().flatten() {
        assert!(url.target().starts_with('/') && url.target().bytes().all(|byte| byte.is_ascii_graphic()));
    }
});
