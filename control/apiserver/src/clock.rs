//! Times, uids and random name endings, as Kubernetes writes them.

use jiff::Timestamp;

/// Seconds precision, UTC: `2026-11-23T20:00:00Z`.
pub fn format_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub fn now() -> String {
    format_seconds(Timestamp::now())
}

/// `seconds` from now.
pub fn after(seconds: i64) -> String {
    format_seconds(Timestamp::now().saturating_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX))
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
    bytes
}

/// A random (version 4) UUID.
pub fn uid() -> String {
    let value = u128::from_be_bytes(random::<16>());
    let value = value & !(0xf000_u128 << 64) & !(0xc000_u128 << 48) | (0x4000_u128 << 64) | (0x8000_u128 << 48);
    let hex = format!("{value:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Five characters without vowels, as `generateName` appends.
pub fn name_ending() -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    random::<5>().iter().map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])).collect()
}

/// A number under `limit`, to spread timeouts.
pub fn spread(limit: u64) -> u64 {
    u64::from_be_bytes(random::<8>()) % limit.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_is_a_version_4_uuid() {
        let uid = uid();
        assert_eq!(uid.len(), 36);
        assert_eq!(&uid[14..15], "4");
        assert!(matches!(&uid[19..20], "8" | "9" | "a" | "b"), "{uid}");
    }
}
