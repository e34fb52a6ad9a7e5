//! The node's DNS over real sockets, each test in a network namespace of its own, asked by `dig`.

#[path = "dns/forwarding.rs"]
mod forwarding;
#[path = "dns/lab.rs"]
mod lab;
#[path = "dns/names.rs"]
mod names;
#[path = "dns/rate.rs"]
mod rate;
#[path = "dns/upstream.rs"]
mod upstream;
