//! How a command lies in a segment.
//!
//! ```text
//! segment:  header (4096 bytes)          record*          zeros or an old lap
//! header:   magic "BRLOG001" | epoch u64 | crc32 of both u32
//! record:   length u32 | crc32 of the rest u32 | epoch u64 | sequence u64 | payload (length bytes, postcard Command)
//! ```
//!
//! All little-endian. A record counts only with its segment's epoch and the sequence that follows the one before, so
//! neither a torn write nor an old lap of a recycled segment is ever replayed.

/// The header has a disk page to itself, so that a torn record never touches it.
pub const HEADER_BYTES: usize = 4096;
/// Bytes before a record's payload.
pub const PREFIX_BYTES: usize = 24;
/// The largest payload: an object of 3 MiB and its envelope.
pub const PAYLOAD_BYTES_MAX: usize = 4 << 20;

const MAGIC: &[u8; 8] = b"BRLOG001";

/// A segment's header for `epoch`.
pub fn header(epoch: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&epoch.to_le_bytes());
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.resize(HEADER_BYTES, 0);
    bytes
}

/// The epoch of a segment, if its header is whole.
pub fn read_header(bytes: &[u8]) -> Option<u64> {
    let fields = bytes.get(..16)?;
    let crc = read_u32(bytes, 16)?;
    (fields.starts_with(MAGIC) && crc32fast::hash(fields) == crc).then(|| read_u64(bytes, 8)).flatten()
}

/// Appends a record to `out`.
pub fn encode(out: &mut Vec<u8>, epoch: u64, sequence: u64, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("payloads are limited far below 4 GiB");
    let start = out.len();
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&epoch.to_le_bytes());
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(payload);
    let crc = checksum(&out[start..start + 4], &out[start + 8..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

/// The records of a segment in order, up to the first that is not whole.
pub fn scan(bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut records = Vec::new();
    let Some(epoch) = read_header(bytes) else { return records };
    let mut at = HEADER_BYTES;
    let mut expected = None;
    while let Some((sequence, payload)) = read_record(bytes, at, epoch) {
        if expected.is_some_and(|expected| expected != sequence) {
            break;
        }
        records.push((sequence, payload));
        expected = Some(sequence + 1);
        at += PREFIX_BYTES + payload.len();
    }
    records
}

fn read_record(bytes: &[u8], at: usize, epoch: u64) -> Option<(u64, &[u8])> {
    let length = read_u32(bytes, at)? as usize;
    if length == 0 || length > PAYLOAD_BYTES_MAX {
        return None;
    }
    let crc = read_u32(bytes, at + 4)?;
    let body = bytes.get(at + 8..at + PREFIX_BYTES + length)?;
    if checksum(&bytes[at..at + 4], body) != crc || read_u64(bytes, at + 8)? != epoch {
        return None;
    }
    Some((read_u64(bytes, at + 16)?, &body[16..]))
}

fn checksum(length: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(length);
    hasher.update(body);
    hasher.finalize()
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(epoch: u64, payloads: &[&[u8]]) -> Vec<u8> {
        let mut bytes = header(epoch);
        for (index, payload) in payloads.iter().enumerate() {
            encode(&mut bytes, epoch, 10 + index as u64, payload);
        }
        bytes
    }

    #[test]
    fn records_come_back_in_order() {
        let bytes = segment(3, &[b"one", b"two"]);
        assert_eq!(scan(&bytes), vec![(10, &b"one"[..]), (11, &b"two"[..])]);
    }

    #[test]
    fn any_damaged_byte_leaves_a_prefix() {
        let payloads: [&[u8]; 3] = [b"first payload", b"second", b"third one"];
        let whole = segment(3, &payloads);
        for at in HEADER_BYTES..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x5a;
            let records = scan(&damaged);
            assert!(records.len() < 3, "byte {at} was damaged and nothing noticed");
            for (index, (sequence, payload)) in records.iter().enumerate() {
                assert_eq!((*sequence, *payload), (10 + index as u64, payloads[index]));
            }
        }
    }

    #[test]
    fn an_old_lap_is_never_replayed() {
        let mut bytes = segment(3, &[b"one", b"two", b"three"]);
        let fresh = segment(4, &[b"new"]);
        bytes[..fresh.len()].copy_from_slice(&fresh);
        assert_eq!(scan(&bytes), vec![(10, &b"new"[..])]);
    }

    #[test]
    fn a_truncated_or_foreign_file_is_empty() {
        assert!(scan(b"").is_empty());
        assert!(scan(&[0xff; 9000]).is_empty());
        assert!(scan(&header(1)[..100]).is_empty());
    }
}
