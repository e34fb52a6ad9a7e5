//! A write of one object and a patch of it, through the whole pipeline over the store's in-memory twin.
#![no_main]

use arbitrary::Arbitrary;
use bytes::Bytes;
use control_api::decode::decode_json;
use control_api::resource;
use control_apiserver::{Api, Call, PatchKind, Reply, User, Verb, WriteOptions, bootstrap};
use control_store::MemoryStore;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    kind: u8,
    patch_kind: u8,
    object: &'a str,
    patches: Vec<&'a [u8]>,
}

fuzz_target!(|input: Input| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(run(&input));
});

async fn run(input: &Input<'_>) {
    let Ok(decoded) = decode_json(input.object.as_bytes()) else { return };
    let api = Api::new(MemoryStore::new());
    bootstrap::bootstrap(&api).await.expect("the first namespaces can be made");
    let all = resource::all();
    let resource = all[usize::from(input.kind) % all.len()];
    let namespace = if resource.namespaced() { "default" } else { "" };
    let call = |verb: Verb, name: &str| Call {
        user: User::system("fuzz"),
        verb,
        resource,
        subresource: None,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        options: WriteOptions::default(),
    };
    let Ok(Reply::Object { object, .. }) = api.call(call(Verb::Create(decoded.value), "")).await else { return };
    let name = object.key.name.to_string();
    for patch in &input.patches {
        let kind = [PatchKind::Json, PatchKind::Merge, PatchKind::Strategic][usize::from(input.patch_kind) % 3];
        let reply = api.call(call(Verb::Patch(kind, Bytes::copy_from_slice(patch)), &name)).await;
        if let Ok(Reply::Object { object, .. }) = reply {
            let back = decode_json(&object.json).expect("a stored object can be read");
            let plain: Value = serde_json::from_slice(&object.json).expect("a stored object can be read");
            assert_eq!(back.value, plain);
        }
    }
}
