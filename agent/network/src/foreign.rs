//! Chains of others that keep pods' packets from being forwarded, such as Docker's.
//!
//! What another table drops no table of ours brings back, so it can only be told of.

use std::io;

use crate::{fingerprint::dump, netns::failed, network::Error};

const GET_CHAIN: u16 = 10 << 8 | 4;
const NEW_CHAIN: u16 = 10 << 8 | 3;
const ANY_FAMILY: u8 = 0;
/// Of nfnetlink's head: families `inet` and `ip`.
const FAMILIES: [u8; 2] = [1, 2];
const HEAD_BYTES: usize = 4;
const TABLE: u16 = 1;
const NAME: u16 = 3;
const HOOK: u16 = 4;
const HOOK_NUMBER: u16 = 1;
const POLICY: u16 = 5;
const FORWARD: [u8; 4] = [0, 0, 0, 2];
const DROP: [u8; 4] = [0; 4];

/// Chains in this thread's namespace that drop what they do not know before it is forwarded, in words. Those of
/// `iptables-legacy` are not among them.
pub fn foreign_drops() -> Result<Vec<String>, Error> {
    list().map_err(failed("list the chains of the packet filter"))
}

pub(crate) fn warn() {
    for chain in foreign_drops().unwrap_or_default() {
        tracing::warn!(chain, "another program's packet filter drops what it does not know: pods may reach nobody");
    }
}

fn list() -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    dump(GET_CHAIN, ANY_FAMILY, &[], |kind, body| {
        if kind == NEW_CHAIN {
            found.extend(dropping(body));
        }
    })?;
    Ok(found)
}

fn dropping(body: &[u8]) -> Option<String> {
    let attributes = body.get(HEAD_BYTES..)?;
    let hook = find(attributes, HOOK)?;
    let drops = find(hook, HOOK_NUMBER) == Some(&FORWARD) && find(attributes, POLICY) == Some(&DROP);
    let text = |kind| {
        let bytes = find(attributes, kind)?;
        std::str::from_utf8(bytes.strip_suffix(&[0]).unwrap_or(bytes)).ok()
    };
    if !drops || !FAMILIES.contains(&body[0]) {
        return None;
    }
    Some(format!("chain {} of table {}", text(NAME)?, text(TABLE)?))
}

/// The value of the first attribute of a kind.
fn find(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(attributes.get(..2)?.try_into().ok()?));
        // Without the marks of nesting and byte order.
        let kind = u16::from_ne_bytes(attributes.get(2..4)?.try_into().ok()?) & 0x3fff;
        let value = attributes.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_answer_is_none() {
        for length in 0..40 {
            for fill in [0, 1, 4, 0xff] {
                let _ = dropping(&vec![fill; length]);
            }
        }
    }
}
