//! Addresses, ranges, and what a Service claims and keeps.
#![no_main]

use control_api::service::{Claims, ServiceRange, complete, lacks};
use control_api::{Cidr, Ipv4Range, ip};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(range) = Cidr::parse(text) {
        assert!(range.contains(range.network()));
        assert!(range.overlaps(&range));
    }
    if let Ok(range) = text.parse::<Ipv4Range>() {
        assert!(range.contains(range.base()) && range.contains(range.last()));
        assert_eq!(range.to_string().parse(), Ok(range));
    }
    if let Some(address) = ip::parse(text) {
        let _ = ip::special(address);
    }
    if let Ok(range) = ServiceRange::parse(text, "10.42.0.0/16") {
        assert!(range.holds(range.api_address()) && range.holds(range.dns_address()));
        assert!(range.candidates(data.len() as u64).take(64).all(|address| range.holds(address)));
    }
    let mut parts = text.splitn(2, '\n').map(serde_json::from_str::<Value>);
    if let (Some(Ok(mut new)), Some(Ok(old))) = (parts.next(), parts.next())
        && new.is_object()
    {
        complete(&mut new, Some(&old));
        let (_, _) = (Claims::of(&new), lacks(&new));
    }
});
