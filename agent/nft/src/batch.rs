//! The messages of one transaction.

use crate::{
    attribute::{Attributes, as_text, attribute, long, nested, number, text},
    encode,
    expr::Expr,
    table::{Chain, ChainKind, Data, Element, ElementData, Ruleset, Set, Type},
};

pub(crate) const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
pub(crate) const SUBSYSTEM: u16 = 10;
pub(crate) const NEW_TABLE: u16 = SUBSYSTEM << 8;
const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
const DELETE_CHAIN: u16 = SUBSYSTEM << 8 | 5;
const NEW_RULE: u16 = SUBSYSTEM << 8 | 6;
const DELETE_RULE: u16 = SUBSYSTEM << 8 | 8;
const NEW_SET: u16 = SUBSYSTEM << 8 | 9;
const DELETE_SET: u16 = SUBSYSTEM << 8 | 11;
pub(crate) const NEW_ELEMENT: u16 = SUBSYSTEM << 8 | 12;
const DELETE_ELEMENT: u16 = SUBSYSTEM << 8 | 14;

const REQUEST: u16 = 0x1;
const ACKNOWLEDGE: u16 = 0x4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
pub(crate) const FAMILY_IPV4: u8 = 2;
pub(crate) const MESSAGE_HEAD: usize = 20;

/// The list of a message's elements is one attribute, whose length is 16 bits.
const ELEMENT_BYTES_MAX: usize = 60_000;
/// For `nft list` alone: kind 0 (the key's byte order), 4 bytes long, 1 (the machine's).
const USER_DATA_KEY_IN_MACHINE_ORDER: [u8; 6] = {
    let [a, b, c, d] = 1u32.to_ne_bytes();
    [0, 4, a, b, c, d]
};
const FIRST_SEQUENCE: u32 = 1;

/// Changes that hold together or not at all.
#[derive(Clone, Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    sequence: u32,
    last: usize,
    sets: u32,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    pub fn new() -> Self {
        let mut batch = Self { bytes: Vec::new(), sequence: FIRST_SEQUENCE, last: 0, sets: 0 };
        message(&mut batch.bytes, BATCH_BEGIN, 0, 0, (0, SUBSYSTEM), |_| {});
        batch
    }

    /// Whether it would change nothing.
    pub fn is_empty(&self) -> bool {
        self.sequence == FIRST_SEQUENCE
    }

    /// Puts the ruleset in the place of the table of its name.
    pub fn replace(ruleset: &Ruleset) -> Self {
        let mut batch = Self::remove(&ruleset.table);
        batch.table(&ruleset.table);
        batch.fill(ruleset);
        batch
    }

    /// Removes a table, which may be absent.
    pub fn remove(table: &str) -> Self {
        let mut batch = Self::new();
        // Deleting what is absent fails the transaction, so it is made first.
        batch.table(table);
        batch.message(DELETE_TABLE, 0, |to| text(to, 1, table));
        batch
    }

    /// Makes the table, if it is absent.
    pub fn table(&mut self, table: &str) {
        self.message(NEW_TABLE, CREATE, |to| text(to, 1, table));
    }

    /// Adds all sets, chains and rules to the table, in an order in which each finds what it names.
    pub fn fill(&mut self, ruleset: &Ruleset) {
        let table = &ruleset.table;
        for chain in &ruleset.chains {
            self.chain(table, chain);
        }
        for (set, elements) in &ruleset.sets {
            self.set(table, set);
            self.add(table, set, elements);
        }
        for chain in &ruleset.chains {
            self.rules(table, chain);
        }
    }

    /// Makes the chain, without its rules.
    pub fn chain(&mut self, table: &str, chain: &Chain) {
        self.message(NEW_CHAIN, CREATE, |to| {
            text(to, 1, table);
            text(to, 3, &chain.name);
            if let Some(hook) = &chain.hook {
                nested(to, 4, |to| {
                    number(to, 1, hook.point as u32);
                    attribute(to, 2, &hook.priority.to_be_bytes());
                });
                let kind = match hook.kind {
                    ChainKind::Filter => "filter",
                    ChainKind::Nat => "nat",
                };
                text(to, 7, kind);
            }
        });
    }

    /// Appends the chain's rules.
    pub fn rules(&mut self, table: &str, chain: &Chain) {
        for rule in &chain.rules {
            self.rule(table, &chain.name, rule);
        }
    }

    pub fn rule(&mut self, table: &str, chain: &str, rule: &[Expr]) {
        self.message(NEW_RULE, CREATE | APPEND, |to| {
            text(to, 1, table);
            text(to, 2, chain);
            nested(to, 4, |to| encode::rule(to, rule));
        });
    }

    /// Removes all rules of a chain.
    pub fn flush_chain(&mut self, table: &str, chain: &str) {
        self.message(DELETE_RULE, 0, |to| {
            text(to, 1, table);
            text(to, 2, chain);
        });
    }

    /// Removes a chain that nothing jumps to any more, with its rules.
    pub fn delete_chain(&mut self, table: &str, chain: &str) {
        self.flush_chain(table, chain);
        self.message(DELETE_CHAIN, 0, |to| {
            text(to, 1, table);
            text(to, 3, chain);
        });
    }

    pub fn set(&mut self, table: &str, set: &Set) {
        self.sets += 1;
        let id = self.sets;
        self.message(NEW_SET, CREATE, |to| {
            text(to, 1, table);
            text(to, 2, &set.name);
            number(to, 3, set_flags(set));
            let (kind, length) = concatenation(&set.key);
            number(to, 4, kind);
            number(to, 5, length);
            match &set.data {
                // The kernel knows how long a verdict is, and wants a length all the same.
                Some(Data::Verdict) => {
                    number(to, 6, 0xffff_ff00);
                    number(to, 7, 16);
                }
                Some(Data::Values(types)) => {
                    let (kind, length) = concatenation(types);
                    number(to, 6, kind);
                    number(to, 7, length);
                }
                None => {}
            }
            nested(to, 9, |to| set_description(to, set));
            number(to, 10, id);
            if let [Type::LinkName | Type::Mark] = set.key[..] {
                attribute(to, 13, &USER_DATA_KEY_IN_MACHINE_ORDER);
            }
        });
    }

    /// Removes a set that no rule names any more.
    pub fn delete_set(&mut self, table: &str, set: &str) {
        self.message(DELETE_SET, 0, |to| {
            text(to, 1, table);
            text(to, 2, set);
        });
    }

    pub fn add(&mut self, table: &str, set: &Set, elements: &[Element]) {
        self.elements(NEW_ELEMENT, CREATE, table, set, elements);
    }

    /// Removes elements, all of which are there.
    pub fn delete(&mut self, table: &str, set: &Set, elements: &[Element]) {
        self.elements(DELETE_ELEMENT, 0, table, set, elements);
    }

    fn elements(&mut self, kind: u16, flags: u16, table: &str, set: &Set, elements: &[Element]) {
        let mut rest = elements.iter().peekable();
        while rest.peek().is_some() {
            self.message(kind, flags, |to| {
                text(to, 1, table);
                text(to, 2, &set.name);
                nested(to, 3, |to| {
                    let start = to.len();
                    while let Some(next) = rest.next_if(|_| to.len() - start < ELEMENT_BYTES_MAX) {
                        element(to, set, next);
                    }
                });
            });
        }
    }

    fn message(&mut self, kind: u16, flags: u16, attributes: impl FnOnce(&mut Vec<u8>)) {
        self.last = self.bytes.len();
        message(&mut self.bytes, kind, flags, self.sequence, (FAMILY_IPV4, 0), attributes);
        self.sequence += 1;
    }

    /// The bytes to send, and the sequence number whose answer ends it.
    pub(crate) fn finish(self) -> (Vec<u8>, u32) {
        let (mut bytes, awaited) = self.unfinished();
        message(&mut bytes, BATCH_END, 0, awaited + 1, (0, SUBSYSTEM), |_| {});
        (bytes, awaited)
    }

    /// The same without an end: the kernel looks at each message and then forgets them all.
    pub(crate) fn unfinished(mut self) -> (Vec<u8>, u32) {
        // The last message alone is acknowledged; a refused one is told in any case.
        let flags = u16::from_ne_bytes([self.bytes[self.last + 6], self.bytes[self.last + 7]]) | ACKNOWLEDGE;
        self.bytes[self.last + 6..self.last + 8].copy_from_slice(&flags.to_ne_bytes());
        (self.bytes, self.sequence - 1)
    }
}

/// Appends one message with nfnetlink's head.
pub(crate) fn message(
    to: &mut Vec<u8>,
    kind: u16,
    flags: u16,
    sequence: u32,
    (family, resource): (u8, u16),
    attributes: impl FnOnce(&mut Vec<u8>),
) {
    let start = to.len();
    to.extend_from_slice(&[0; 4]);
    to.extend_from_slice(&kind.to_ne_bytes());
    to.extend_from_slice(&(REQUEST | flags).to_ne_bytes());
    to.extend_from_slice(&sequence.to_ne_bytes());
    to.extend_from_slice(&[0; 4]);
    to.extend_from_slice(&[family, 0]);
    to.extend_from_slice(&resource.to_be_bytes());
    attributes(to);
    let length = u32::try_from(to.len() - start).expect("a batch is far below 4 GiB");
    to[start..start + 4].copy_from_slice(&length.to_ne_bytes());
}

/// What the message of this sequence number was to do, for an error's text.
pub(crate) fn describe(mut batch: &[u8], sequence: u32) -> String {
    while let Some(head) = batch.first_chunk::<MESSAGE_HEAD>() {
        let length = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(attributes) = batch.get(MESSAGE_HEAD..length) else { break };
        let kind = u16::from_ne_bytes([head[4], head[5]]);
        if sequence == u32::from_ne_bytes([head[8], head[9], head[10], head[11]]) && kind != BATCH_BEGIN {
            let (what, name) = match kind {
                NEW_TABLE => ("make a table", 1),
                DELETE_TABLE => ("delete a table", 1),
                NEW_CHAIN => ("make a chain", 3),
                DELETE_CHAIN => ("delete a chain", 3),
                NEW_RULE => ("add a rule to", 2),
                DELETE_RULE => ("remove the rules of", 2),
                NEW_SET => ("make a set", 2),
                DELETE_SET => ("delete a set", 2),
                NEW_ELEMENT => ("add elements to", 2),
                DELETE_ELEMENT => ("delete elements of", 2),
                _ => ("end the batch", 0),
            };
            let [table, name] = [1, name].map(|kind| Attributes::find(attributes, kind).map_or("", as_text));
            return format!("{what}: {name} (table {table})");
        }
        batch = &batch[length.max(MESSAGE_HEAD)..];
    }
    "take the batch".into()
}

fn set_flags(set: &Set) -> u32 {
    let mut flags = 0;
    if set.intervals {
        flags |= 0x4;
    }
    if set.data.is_some() {
        flags |= 0x8;
    }
    if set.dynamic.is_some() {
        // Timeouts, and changes from rules.
        flags |= 0x10 | 0x20;
    }
    if set.intervals && set.key.len() > 1 {
        flags |= 0x80;
    }
    flags
}

fn set_description(to: &mut Vec<u8>, set: &Set) {
    if let Some(elements_max) = set.dynamic {
        number(to, 1, elements_max);
    }
    if set.intervals && set.key.len() > 1 {
        nested(to, 2, |to| {
            for field in &set.key {
                nested(to, 1, |to| number(to, 1, field.length()));
            }
        });
    }
}

/// A type's number and length; in a concatenation each part takes 6 bits of the number and whole words.
fn concatenation(types: &[Type]) -> (u32, u32) {
    match types {
        [one] => (one.number(), one.length()),
        many => many.iter().fold((0, 0), |(number, length), part| {
            (number << 6 | part.number(), length + part.length().next_multiple_of(4))
        }),
    }
}

fn element(to: &mut Vec<u8>, set: &Set, element: &Element) {
    let lone = set.intervals && set.key.len() == 1;
    nested(to, 1, |to| {
        nested(to, 1, |to| attribute(to, 1, &element.key));
        match &element.data {
            Some(ElementData::Value(value)) => nested(to, 2, |to| attribute(to, 1, value)),
            Some(ElementData::Verdict(verdict)) => nested(to, 2, |to| encode::verdict(to, verdict)),
            None => {}
        }
        if let Some(timeout_ms) = element.timeout_ms {
            long(to, 4, timeout_ms);
        }
        if let Some(expires_ms) = element.expires_ms {
            long(to, 5, expires_ms);
        }
        if set.intervals && !lone {
            nested(to, 10, |to| attribute(to, 1, element.last.as_ref().unwrap_or(&element.key)));
        }
    });
    // A range of a lone key is two elements: where it begins, and the first key behind it, unless it has none.
    if lone && let Some(behind) = successor(element.last.as_ref().unwrap_or(&element.key)) {
        nested(to, 1, |to| {
            nested(to, 1, |to| attribute(to, 1, &behind));
            number(to, 3, 1);
        });
    }
}

/// The next key in big-endian order.
fn successor(key: &[u8]) -> Option<Vec<u8>> {
    let mut next = key.to_vec();
    let at = next.iter().rposition(|byte| *byte != u8::MAX)?;
    next[at] += 1;
    next[at + 1..].fill(0);
    Some(next)
}
