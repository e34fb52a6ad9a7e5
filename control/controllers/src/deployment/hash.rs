//! The `pod-template-hash`: any stable hash of the template will do, since it is only ever compared by name.

use serde_json::Value;

/// Without vowels and look-alikes, as Kubernetes' `SafeEncodeString`.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const FNV_OFFSET: u32 = 0x811c_9dc5;
const FNV_PRIME: u32 = 0x0100_0193;

/// FNV-1a over the template with its keys in order; `collisions` sets apart templates that hash alike.
pub(crate) fn template_hash(template: &Value, collisions: i32) -> String {
    let mut hash = FNV_OFFSET;
    feed(template, &mut hash);
    for byte in collisions.to_le_bytes() {
        step(byte, &mut hash);
    }
    hash.to_string().bytes().map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()])).collect()
}

fn step(byte: u8, hash: &mut u32) {
    *hash = (*hash ^ u32::from(byte)).wrapping_mul(FNV_PRIME);
}

fn feed(value: &Value, hash: &mut u32) {
    match value {
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort();
            step(b'{', hash);
            for name in names {
                name.bytes().for_each(|byte| step(byte, hash));
                step(b':', hash);
                feed(&fields[name], hash);
            }
            step(b'}', hash);
        }
        Value::Array(items) => {
            step(b'[', hash);
            items.iter().for_each(|item| feed(item, hash));
            step(b']', hash);
        }
        scalar => scalar.to_string().bytes().for_each(|byte| step(byte, hash)),
    }
}
