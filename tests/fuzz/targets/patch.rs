//! A write of one object and a patch of it, through the whole pipeline over the store's in-memory twin.
#![no_main]

use std::sync::Arc;

use bytes::Bytes;
use control_api::decode::decode_json;
use control_api::{Resource, resource};
use control_apiserver::{Api, Call, PatchKind, Reply, User, Verb, WriteOptions, bootstrap};
use control_store::MemoryStore;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let [kind, patch_kind, rest @ ..] = data else { return };
    let mut parts = rest.split(|byte| *byte == 0);
    let Ok(decoded) = decode_json(parts.next().unwrap_or_default()) else { return };
    let all = resource::all();
    let resource = all[usize::from(*kind) % all.len()];
    let patch_kind = [PatchKind::Json, PatchKind::Merge, PatchKind::Strategic][usize::from(*patch_kind) % 3];
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(run(resource, decoded.value, patch_kind, parts.take(8)));
});

async fn run(resource: &'static Resource, object: Value, kind: PatchKind, patches: impl Iterator<Item = &[u8]>) {
    let api = Api::new(Arc::new(MemoryStore::default()));
    bootstrap::bootstrap(&api).await.expect("the first namespaces can be made");
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
    let Ok(Reply::Object { object, .. }) = api.call(call(Verb::Create(object), "")).await else { return };
    let name = object.key.name.to_string();
    for patch in patches {
        let reply = api.call(call(Verb::Patch(kind, Bytes::copy_from_slice(patch)), &name)).await;
        if let Ok(Reply::Object { object, .. }) = reply {
            let back = decode_json(&object.json).expect("a stored object can be read");
            let plain: Value = serde_json::from_slice(&object.json).expect("a stored object can be read");
            assert_eq!(back.value, plain);
        }
    }
}
