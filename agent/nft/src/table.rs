use std::{borrow::Cow, net::Ipv4Addr};

use crate::expr::{Expr, Verdict};

/// The name of a table, chain or set: at most 255 bytes.
pub type Name = Cow<'static, str>;

/// A whole table of the family `ip`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    pub table: String,
    pub sets: Vec<(Set, Vec<Element>)>,
    pub chains: Vec<Chain>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    pub name: Name,
    /// Absent: a chain that is only jumped to.
    pub hook: Option<Hook>,
    pub rules: Vec<Vec<Expr>>,
}

impl Chain {
    pub fn base(name: impl Into<Name>, hook: Hook, rules: Vec<Vec<Expr>>) -> Self {
        Self { name: name.into(), hook: Some(hook), rules }
    }

    pub fn named(name: impl Into<Name>, rules: Vec<Vec<Expr>>) -> Self {
        Self { name: name.into(), hook: None, rules }
    }
}

/// Where packets enter a chain. What no rule decides is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    pub kind: ChainKind,
    pub point: HookPoint,
    pub priority: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainKind {
    Filter,
    /// Sees the first packet of a connection only.
    Nat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookPoint {
    Prerouting = 0,
    Input = 1,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

/// A named set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    pub name: Name,
    /// One type, or several for a concatenated key.
    pub key: Vec<Type>,
    /// Present: a map.
    pub data: Option<Data>,
    /// Elements may be ranges ([`Element::between`]). Ranges that overlap are refused.
    pub intervals: bool,
    /// Present: packets change the set ([`Expr::Change`]), elements may have timeouts, and this many are the most.
    pub dynamic: Option<u32>,
}

impl Set {
    pub fn new(name: impl Into<Name>, key: impl Into<Vec<Type>>) -> Self {
        Self { name: name.into(), key: key.into(), data: None, intervals: false, dynamic: None }
    }

    pub fn map(name: impl Into<Name>, key: impl Into<Vec<Type>>, data: impl Into<Vec<Type>>) -> Self {
        Self { data: Some(Data::Values(data.into())), ..Self::new(name, key) }
    }

    pub fn verdict_map(name: impl Into<Name>, key: impl Into<Vec<Type>>) -> Self {
        Self { data: Some(Data::Verdict), ..Self::new(name, key) }
    }

    #[must_use]
    pub fn with_intervals(self) -> Self {
        Self { intervals: true, ..self }
    }

    #[must_use]
    pub fn changed_by_packets(self, elements_max: u32) -> Self {
        Self { dynamic: Some(elements_max), ..self }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    Verdict,
    Values(Vec<Type>),
}

/// Types as `nft list` knows them; the kernel cares for their lengths only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Address,
    Protocol,
    Port,
    /// A number in the machine's byte order, such as `numgen` gives.
    Mark,
    LinkName,
}

impl Type {
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Address => 7,
            Self::Protocol => 12,
            Self::Port => 13,
            Self::Mark => 19,
            Self::LinkName => 41,
        }
    }

    pub(crate) fn length(self) -> u32 {
        match self {
            Self::Address | Self::Mark => 4,
            Self::Protocol => 1,
            Self::Port => 2,
            Self::LinkName => 16,
        }
    }
}

/// A part of a key or of a map's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    Address(Ipv4Addr),
    Protocol(u8),
    Port(u16),
    Mark(u32),
    LinkName(&'a str),
}

/// The values as they lie in registers: each begins at a word. A lone value is as long as its type says.
pub fn bytes(values: &[Value<'_>]) -> Vec<u8> {
    let mut to = Vec::with_capacity(values.len() * 4);
    for value in values {
        match value {
            Value::Address(address) => to.extend_from_slice(&address.octets()),
            Value::Protocol(protocol) => to.push(*protocol),
            Value::Port(port) => to.extend_from_slice(&port.to_be_bytes()),
            Value::Mark(number) => to.extend_from_slice(&number.to_ne_bytes()),
            Value::LinkName(name) => {
                let end = to.len() + 16;
                to.extend_from_slice(&name.as_bytes()[..name.len().min(15)]);
                to.resize(end, 0);
            }
        }
        if values.len() > 1 {
            to.resize(to.len().next_multiple_of(4), 0);
        }
    }
    to
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    pub key: Vec<u8>,
    /// The last key of a range, in a set with intervals.
    pub last: Option<Vec<u8>>,
    pub data: Option<ElementData>,
    /// In a set that packets change.
    pub timeout_ms: Option<u64>,
    /// How much of the timeout is left; absent: all of it.
    pub expires_ms: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ElementData {
    Value(Vec<u8>),
    Verdict(Verdict),
}

impl Element {
    pub fn new(key: &[Value<'_>]) -> Self {
        Self { key: bytes(key), last: None, data: None, timeout_ms: None, expires_ms: None }
    }

    /// All from the one to the other, both included.
    pub fn between(first: &[Value<'_>], last: &[Value<'_>]) -> Self {
        Self { last: Some(bytes(last)), ..Self::new(first) }
    }

    #[must_use]
    pub fn value(self, data: &[Value<'_>]) -> Self {
        Self { data: Some(ElementData::Value(bytes(data))), ..self }
    }

    #[must_use]
    pub fn verdict(self, verdict: Verdict) -> Self {
        Self { data: Some(ElementData::Verdict(verdict)), ..self }
    }
}
