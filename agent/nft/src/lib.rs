//! nftables by netlink: the one place that knows how the kernel wants tables, sets, chains and rules written.
//!
//! `agent/network` and `agent/proxy` describe what they want as data (`Ruleset`, `Set`, `Chain`, `Expr`) or as a
//! `Batch` of changes, and a `Socket` of the right network namespace sends it. A batch is one transaction: all of it
//! holds or nothing, and no packet sees half of it.
//!
//! Reading order: `table` (tables, sets and chains as data), `expr` (what rules are made of), `attribute` (netlink's
//! attributes), `encode` (expressions as attributes), `batch` (messages of one transaction), `socket` (sending it),
//! `query` (what is there), `notices` (what others change), `conntrack` (flows of UDP), `modules` (what the kernel
//! has to have).
//!
//! Absent on purpose: IPv6; whatever our rules do not use; features that came after Linux 6.1; the `nft` program.

mod attribute;
mod batch;
mod conntrack;
mod encode;
mod error;
mod expr;
#[cfg(any(fuzzing, debug_assertions))]
pub mod fuzzing;
mod modules;
mod notices;
mod query;
mod socket;
mod table;

pub use batch::Batch;
pub use conntrack::{Tuple, UdpFlow};
pub use error::Error;
pub use expr::{
    Base, ConntrackKey, ConntrackStatus, Direction, End, Expr, MetaKey, REGISTER_1, REGISTER_2, Reject, SetChange,
    Verdict, word,
};
pub use notices::Notices;
pub use socket::{Socket, inside};
pub use table::{
    Chain, ChainKind, Data, Element, ElementData, Hook, HookPoint, Name, Ruleset, Set, Type, Value, bytes,
};
