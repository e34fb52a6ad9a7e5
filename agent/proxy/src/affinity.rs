//! What the kernel remembers of clients, when targets change their indexes or the table is built anew.

use std::{collections::HashMap, net::Ipv4Addr};

use agent_nft::{Element, ElementData};

use crate::{
    front::Front,
    service::Protocol,
    state::{Changes, State},
};

/// A client that is forgotten so soon is left alone: it may be gone before the batch arrives.
const EXPIRES_MS_MIN: u64 = 1000;
const FRONT_AT: usize = 4;
const INDEX_AT: usize = 16;

/// Elements to delete and to add, so that clients stay with their targets.
pub(crate) fn follow(changes: &Changes, remembered: Vec<Element>) -> (Vec<Element>, Vec<Element>) {
    let (mut deleted, mut added) = (Vec::new(), Vec::new());
    for element in remembered {
        let place = read_key(&element.key);
        let Some((front, index)) = place.filter(|_| element.expires_ms.is_some_and(|left| left > EXPIRES_MS_MIN))
        else {
            continue;
        };
        let Some(new) = changes.moved.get(&front).and_then(|moved| moved.get(&index)) else { continue };
        added.extend(new.map(|new| with_index(element.clone(), new)));
        deleted.push(element);
    }
    (deleted, added)
}

/// What an earlier table remembered, with the indexes of the new one.
pub(crate) fn carry_over(state: &State, remembered: Vec<Element>, endpoints: &[Element]) -> Vec<Element> {
    let targets: HashMap<&[u8], (Ipv4Addr, u16)> =
        endpoints.iter().filter_map(|element| Some((element.key.as_slice(), read_target(element)?))).collect();
    let moved = remembered.into_iter().filter_map(|element| {
        let (front, index) = read_key(&element.key)?;
        let target = targets.get(element.key.get(FRONT_AT..)?)?;
        let new = state.index_of(&front, index, *target)?;
        element.expires_ms.filter(|left| *left > 0)?;
        Some(with_index(element, new))
    });
    moved.collect()
}

fn with_index(mut element: Element, index: u32) -> Element {
    element.key.truncate(INDEX_AT);
    element.key.extend_from_slice(&index.to_ne_bytes());
    element
}

/// The front and the index of a key: client, address, protocol, port, index, each a word.
fn read_key(key: &[u8]) -> Option<(Front, u32)> {
    let word = |at: usize| key.get(at..at + 4)?.first_chunk::<4>().copied();
    let protocol = match word(FRONT_AT + 4)?[0] {
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        _ => return None,
    };
    let [high, low, ..] = word(FRONT_AT + 8)?;
    let front = Front { address: word(FRONT_AT)?.into(), protocol, port: u16::from_be_bytes([high, low]) };
    Some((front, u32::from_ne_bytes(word(INDEX_AT)?)))
}

fn read_target(element: &Element) -> Option<(Ipv4Addr, u16)> {
    let Some(ElementData::Value(value)) = &element.data else { return None };
    let [a, b, c, d, high, low, ..] = value[..] else { return None };
    Some((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])))
}
