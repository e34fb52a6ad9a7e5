//! OpenAPI v3 documents, one a group and version, as kubectl's explain, apply and diff read them.

/// `(path, hash)` of every document: `api/v1`, `apis/apps/v1`.
pub fn v3_index() -> Vec<(String, String)> {
    Vec::new()
}

/// The document of one group (empty for core) and version, as JSON. Built anew on every call: the caller caches it.
pub fn v3_document(_group: &str, _version: &str) -> Option<Vec<u8>> {
    None
}
