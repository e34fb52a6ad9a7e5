//! An object on its way into the store: serialized once, with room for the revision that the store will give it.

use serde_json::Value;

/// Serialized JSON whose `metadata.resourceVersion` is an empty string at `revision_at`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    json: Vec<u8>,
    revision_at: usize,
}

/// A body that cannot become a [`Draft`].
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    #[error("object has no metadata")]
    NoMetadata,
    #[error("object cannot be serialized")]
    Serialize(#[source] serde_json::Error),
}

impl Draft {
    /// Serializes `object`; a `metadata.resourceVersion` in it is ignored.
    pub fn new(object: &Value) -> Result<Self, DraftError> {
        let fields = object.as_object().ok_or(DraftError::NoMetadata)?;
        let metadata = fields.get("metadata").and_then(Value::as_object).ok_or(DraftError::NoMetadata)?;
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
            json.extend_from_slice(b"{\"resourceVersion\":\"");
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
        Ok(Self { json, revision_at })
    }

    /// The final bytes, with `revision` as the object's resourceVersion.
    pub fn finish(mut self, revision: u64) -> Vec<u8> {
        let digits = revision.to_string();
        self.json.splice(self.revision_at..self.revision_at, digits.bytes());
        self.json
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
        let bytes = Draft::new(&object).expect("drafts").finish(42);
        let back: Value = serde_json::from_slice(&bytes).expect("parses");
        assert_eq!(back, json!({"kind": "Pod", "metadata": {"resourceVersion": "42", "name": "a"}, "spec": {}}));
    }

    #[test]
    fn an_object_without_metadata_is_refused() {
        assert!(matches!(Draft::new(&json!({"kind": "Pod"})), Err(DraftError::NoMetadata)));
    }
}
