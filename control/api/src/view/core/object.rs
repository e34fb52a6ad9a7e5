//! Small kinds, and references to objects.

use std::collections::BTreeMap;

use super::super::meta::ObjectMeta;
use super::super::{ByteString, Time};

view! {
    ConfigMap {
        binary_data: Option<BTreeMap<String, ByteString>> = "binaryData",
        data: Option<BTreeMap<String, String>> = "data",
        metadata: ObjectMeta = "metadata",
    }
    Event {
        count: Option<i32> = "count",
        first_timestamp: Option<Time> = "firstTimestamp",
        last_timestamp: Option<Time> = "lastTimestamp",
        message: Option<String> = "message",
        metadata: ObjectMeta = "metadata",
        reason: Option<String> = "reason",
        source: Option<EventSource> = "source",
        type_: Option<String> = "type",
    }
    EventSource {
        component: Option<String> = "component",
        host: Option<String> = "host",
    }
    Namespace {
        metadata: ObjectMeta = "metadata",
        spec: Option<NamespaceSpec> = "spec",
        status: Option<NamespaceStatus> = "status",
    }
    NamespaceSpec {
        finalizers: Option<Vec<String>> = "finalizers",
    }
    NamespaceStatus {
        conditions: Option<Vec<NamespaceCondition>> = "conditions",
        phase: Option<String> = "phase",
    }
    Secret {
        data: Option<BTreeMap<String, ByteString>> = "data",
        metadata: ObjectMeta = "metadata",
        type_: Option<String> = "type",
    }
}

record! {
    NamespaceCondition {
        last_transition_time: Option<Time> = "lastTransitionTime",
        message: Option<String> = "message",
        reason: Option<String> = "reason",
        status: String = "status",
        type_: String = "type",
    }
    ObjectReference {
        api_version: Option<String> = "apiVersion",
        field_path: Option<String> = "fieldPath",
        kind: Option<String> = "kind",
        name: Option<String> = "name",
        namespace: Option<String> = "namespace",
        resource_version: Option<String> = "resourceVersion",
        uid: Option<String> = "uid",
    }
}
