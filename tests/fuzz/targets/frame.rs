//! Frames between server and agents.
#![no_main]

use bytes::BytesMut;
use control_api::stream::{ExecInput, ExecOutput};
use control_api::usage::NodeUsage;
use control_wire::codec::{decode, encode};
use control_wire::frame::{
    Ack, ForwardAnswer, JoinAnswer, LogOutput, Opening, PlatformsAnswer, Report, Request, Sync, TokenAnswer,
    UsageAnswer, Welcome,
};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

fuzz_target!(|data: &[u8]| {
    check::<Opening>(data);
    check::<JoinAnswer>(data);
    check::<TokenAnswer>(data);
    check::<Welcome>(data);
    check::<Sync>(data);
    check::<Report>(data);
    check::<Ack>(data);
    check::<Request>(data);
    check::<LogOutput>(data);
    check::<PlatformsAnswer>(data);
    check::<UsageAnswer>(data);
    check::<ForwardAnswer>(data);
    let _ = serde_json::from_slice::<NodeUsage>(data);
    check::<ExecInput>(data);
    check::<ExecOutput>(data);
});

/// As they come, and with an honest length before them.
fn check<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(data: &[u8]) {
    let mut raw = BytesMut::from(data);
    while let Ok(Some(_)) = decode::<T>(&mut raw) {}
    let mut framed = u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    framed.extend_from_slice(data);
    let Ok(Some(frame)) = decode::<T>(&mut BytesMut::from(&framed[..])) else { return };
    let mut again = Vec::new();
    encode(&frame, &mut again).expect("a frame that was read can be written");
    let read = decode::<T>(&mut BytesMut::from(&again[..]));
    assert_eq!(read.expect("what was written can be read"), Some(frame));
}
