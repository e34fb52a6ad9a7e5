//! An object on its way into the store: serialized once, with room for the revision that the store will give it.

use serde::Deserialize;
use serde_json::Value;

use crate::meta::Meta;

/// Serialized JSON whose `metadata.resourceVersion` is an empty string at `revision_at`, and its parsed metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    json: Vec<u8>,
    revision_at: usize,
    meta: Meta,
}

/// What stands before the revision.
const UNVERSIONED: &[u8] = b"\"resourceVersion\":\"";

/// What stands before that.
const METADATA: &[u8] = b"\"metadata\":{";

/// Where `wanted` begins in `bytes`.
pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// A body that cannot become a [`Draft`].
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    #[error("object has no metadata")]
    NoMetadata,
    #[error("metadata cannot be read: {0}")]
    Metadata(serde_json::Error),
    #[error("object cannot be serialized")]
    Serialize(#[source] serde_json::Error),
}

impl Draft {
    /// Serializes `object`; a `metadata.resourceVersion` in it is ignored.
    pub fn new(object: &Value) -> Result<Self, DraftError> {
        let fields = object.as_object().ok_or(DraftError::NoMetadata)?;
        let metadata = fields.get("metadata").filter(|metadata| metadata.is_object()).ok_or(DraftError::NoMetadata)?;
        let meta = Meta::deserialize(metadata).map_err(DraftError::Metadata)?;
        let metadata = metadata.as_object().ok_or(DraftError::NoMetadata)?;
        let mut json = Vec::with_capacity(512);
        let mut revision_at = 0;
        json.push(b'{');
        for (name, value) in fields {
            if json.len() > 1 {
                json.push(b',');
            }
            serde_json::to_writer(&mut json, name).map_err(DraftError::Serialize)?;
            json.push(b':');
            if name != "metadata" {
                serde_json::to_writer(&mut json, value).map_err(DraftError::Serialize)?;
                continue;
            }
            json.push(b'{');
            json.extend_from_slice(UNVERSIONED);
            revision_at = json.len();
            json.push(b'"');
            for (name, value) in metadata.iter().filter(|(name, _)| *name != "resourceVersion") {
                json.push(b',');
                serde_json::to_writer(&mut json, name).map_err(DraftError::Serialize)?;
                json.push(b':');
                serde_json::to_writer(&mut json, value).map_err(DraftError::Serialize)?;
            }
            json.push(b'}');
        }
        json.push(b'}');
        Ok(Self { json, revision_at, meta })
    }

    /// An object as the store has it, at `revision`, taken up again without being parsed; `None` where it was not a
    /// draft once.
    pub(crate) fn reopen(json: &[u8], meta: Meta, revision: u64) -> Option<Self> {
        let before = [METADATA, UNVERSIONED].concat();
        let revision_at = find(json, &before)? + before.len();
        let digits = revision.to_string();
        let tail = json[revision_at..].strip_prefix(digits.as_bytes()).filter(|tail| tail.starts_with(b"\""))?;
        Some(Self { json: [&json[..revision_at], tail].concat(), revision_at, meta })
    }

    /// Puts `value` between `from` and `to` in the bytes behind the revision.
    pub(crate) fn splice(&mut self, from: usize, to: usize, value: &[u8]) {
        debug_assert!(from > self.revision_at);
        self.json.splice(from..to, value.iter().copied());
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.json
    }

    /// The final bytes, with `revision` as the object's resourceVersion, in a buffer without spare room: objects are
    /// kept for long.
    pub fn finish(self, revision: u64) -> (Vec<u8>, Meta) {
        let digits = revision.to_string();
        let (head, tail) = self.json.split_at(self.revision_at);
        let mut json = Vec::with_capacity(self.json.len() + digits.len());
        json.extend_from_slice(head);
        json.extend_from_slice(digits.as_bytes());
        json.extend_from_slice(tail);
        (json, self.meta)
    }

    /// The bytes of an object that is nowhere kept, and so has no resourceVersion.
    pub fn finish_unversioned(self) -> (Vec<u8>, Meta) {
        let mut json = self.json;
        let comma = usize::from(json.get(self.revision_at + 1) == Some(&b','));
        json.drain(self.revision_at - UNVERSIONED.len()..self.revision_at + 1 + comma);
        (json, self.meta)
    }

    /// Bytes before the revision is filled in; for size limits.
    pub fn len(&self) -> usize {
        self.json.len()
    }

    pub fn is_empty(&self) -> bool {
        self.json.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_draft_carries_the_revision_it_is_finished_with() {
        let object = json!({"kind": "Pod", "metadata": {"name": "a", "resourceVersion": "7"}, "spec": {}});
        let bytes = Draft::new(&object).expect("drafts").finish(42).0;
        let back: Value = serde_json::from_slice(&bytes).expect("parses");
        assert_eq!(back, json!({"kind": "Pod", "metadata": {"resourceVersion": "42", "name": "a"}, "spec": {}}));
    }

    #[test]
    fn an_object_that_is_not_kept_has_no_revision() {
        for metadata in [json!({"name": "a"}), json!({})] {
            let object = json!({"kind": "Pod", "metadata": metadata});
            let bytes = Draft::new(&object).expect("drafts").finish_unversioned().0;
            assert_eq!(serde_json::from_slice::<Value>(&bytes).expect("parses"), object);
        }
    }

    #[test]
    fn an_object_without_metadata_is_refused() {
        assert!(matches!(Draft::new(&json!({"kind": "Pod"})), Err(DraftError::NoMetadata)));
    }
}
