use std::net::Ipv4Addr;

use crate::table::Name;

/// The first two of the four registers of 16 bytes.
pub const REGISTER_1: u32 = 1;
pub const REGISTER_2: u32 = 2;

/// The registers of 4 bytes, 0 to 15; the first four lie in [`REGISTER_1`]. Concatenated keys begin at any of them.
pub const fn word(index: u32) -> u32 {
    8 + index
}

/// One expression of a rule; a rule goes on while its comparisons and lookups hold. Since Linux 6.12 a rule may only
/// read registers that it wrote itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    Meta {
        key: MetaKey,
        register: u32,
    },
    SetMeta {
        key: MetaKey,
        register: u32,
    },
    Conntrack {
        key: ConntrackKey,
        register: u32,
    },
    /// Of the connection's tuple; the address is that of IPv4.
    ConntrackTuple {
        key: ConntrackKey,
        direction: Direction,
        register: u32,
    },
    SetConntrack {
        key: ConntrackKey,
        register: u32,
    },
    Payload {
        base: Base,
        offset: u32,
        length: u32,
        register: u32,
    },
    /// The kernel's route type of the packet's source or destination, in the machine's byte order.
    AddressType {
        of: End,
        register: u32,
    },
    /// The link that leads to the packet's source, looked up as if nothing but the link that it came by existed; 0
    /// where that one does not lead there. Before routing only.
    WayBack {
        register: u32,
    },
    /// `register = register & mask ^ xor`.
    Bitwise {
        register: u32,
        mask: Vec<u8>,
        xor: Vec<u8>,
    },
    Compare {
        register: u32,
        equal: bool,
        value: Vec<u8>,
    },
    Load {
        register: u32,
        value: Vec<u8>,
    },
    /// A random number from `offset` up to `offset + modulus - 1`.
    Random {
        register: u32,
        modulus: u32,
        offset: u32,
    },
    /// Holds where the key at the register is in the set (or is not).
    Lookup {
        set: Name,
        register: u32,
        within: bool,
    },
    /// Holds where the map has the key; its data goes to the register `into`.
    Map {
        set: Name,
        register: u32,
        into: u32,
    },
    /// Does what the verdict map says for the key.
    VerdictMap {
        set: Name,
        register: u32,
    },
    /// Changes a dynamic set by the packet. An update of a key that is there renews its timeout and keeps its data.
    /// For a map the kernel wants a register of data even where it deletes.
    Change {
        change: SetChange,
        set: Name,
        key: u32,
        data: Option<u32>,
        timeout_ms: Option<u64>,
    },
    Verdict(Verdict),
    Reject(Reject),
    DestinationNat {
        address: u32,
        port: u32,
    },
    Masquerade,
    Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    Accept,
    Drop,
    Return,
    Jump(Name),
    Goto(Name),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    IcmpPortUnreachable,
    TcpReset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetChange {
    Add = 0,
    Update = 1,
    Delete = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaKey {
    Mark = 3,
    InputName = 6,
    OutputName = 7,
    Layer4Protocol = 16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConntrackKey {
    /// Bits [`ConntrackKey::INVALID`] and so on, in the machine's byte order.
    State = 0,
    /// Bits of [`ConntrackStatus`].
    Status = 2,
    Mark = 3,
    Protocol = 10,
    SourcePort = 11,
    DestinationPort = 12,
    SourceAddress = 19,
    DestinationAddress = 20,
}

impl ConntrackKey {
    pub const INVALID: u32 = 1;
    pub const ESTABLISHED: u32 = 2;
    pub const RELATED: u32 = 4;
    pub const NEW: u32 = 8;
}

/// Bits of a connection's status.
pub struct ConntrackStatus;

impl ConntrackStatus {
    pub const SOURCE_NAT: u32 = 1 << 4;
    pub const DESTINATION_NAT: u32 = 1 << 5;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Original = 0,
    Reply = 1,
}

/// Which of a packet's two addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Source,
    Destination,
}

impl End {
    fn address_offset(self) -> u32 {
        match self {
            Self::Source => 12,
            Self::Destination => 16,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    Network = 1,
    Transport = 2,
}

/// Of the kernel's route types: an address of this machine.
const TYPE_LOCAL: u32 = 2;

impl Expr {
    pub fn address(end: End, register: u32) -> Self {
        Self::Payload { base: Base::Network, offset: end.address_offset(), length: 4, register }
    }

    pub fn destination_port(register: u32) -> Self {
        Self::Payload { base: Base::Transport, offset: 2, length: 2, register }
    }

    pub fn layer4_protocol(register: u32) -> Self {
        Self::Meta { key: MetaKey::Layer4Protocol, register }
    }

    /// Holds where the first register begins with this.
    pub fn equals(value: impl AsRef<[u8]>) -> Self {
        Self::Compare { register: REGISTER_1, equal: true, value: value.as_ref().to_vec() }
    }

    pub fn differs(value: impl AsRef<[u8]>) -> Self {
        Self::Compare { register: REGISTER_1, equal: false, value: value.as_ref().to_vec() }
    }

    pub fn mask(value: impl AsRef<[u8]>) -> Self {
        let mask = value.as_ref().to_vec();
        Self::Bitwise { register: REGISTER_1, xor: vec![0; mask.len()], mask }
    }

    pub fn jump(chain: impl Into<Name>) -> Self {
        Self::Verdict(Verdict::Jump(chain.into()))
    }

    pub fn goto(chain: impl Into<Name>) -> Self {
        Self::Verdict(Verdict::Goto(chain.into()))
    }

    /// The packet's protocol is this.
    pub fn protocol_is(protocol: u8) -> [Self; 2] {
        [Self::layer4_protocol(REGISTER_1), Self::equals([protocol])]
    }

    pub fn address_is(end: End, address: Ipv4Addr) -> [Self; 2] {
        [Self::address(end, REGISTER_1), Self::equals(address.octets())]
    }

    /// The address is in (or is not in) the range.
    pub fn address_within(end: End, base: Ipv4Addr, prefix_len: u8, inside: bool) -> [Self; 3] {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix_len.min(32))).unwrap_or(0);
        let base = u32::from(base) & mask;
        let value = base.to_be_bytes().to_vec();
        [
            Self::address(end, REGISTER_1),
            Self::mask(mask.to_be_bytes()),
            Self::Compare { register: REGISTER_1, equal: inside, value },
        ]
    }

    /// The address is one of this machine's own.
    pub fn address_is_local(end: End) -> [Self; 2] {
        // The kernel keeps this one in its own byte order.
        [Self::AddressType { of: end, register: REGISTER_1 }, Self::equals(TYPE_LOCAL.to_ne_bytes())]
    }

    /// Any of these bits of the connection's state is set.
    pub fn state_is(bits: u32) -> [Self; 3] {
        let state = Self::Conntrack { key: ConntrackKey::State, register: REGISTER_1 };
        [state, Self::mask(bits.to_ne_bytes()), Self::differs([0; 4])]
    }

    /// Any of these bits of the connection's status is set.
    pub fn status_is(bits: u32) -> [Self; 3] {
        let status = Self::Conntrack { key: ConntrackKey::Status, register: REGISTER_1 };
        [status, Self::mask(bits.to_ne_bytes()), Self::differs([0; 4])]
    }

    /// Sets these bits of the packet's mark and leaves the others.
    pub fn set_mark_bits(bits: u32) -> [Self; 3] {
        let key = MetaKey::Mark;
        let (mask, xor) = ((!bits).to_ne_bytes().to_vec(), bits.to_ne_bytes().to_vec());
        [
            Self::Meta { key, register: REGISTER_1 },
            Self::Bitwise { register: REGISTER_1, mask, xor },
            Self::SetMeta { key, register: REGISTER_1 },
        ]
    }

    /// Any of these bits of the packet's mark is set.
    pub fn mark_has(bits: u32) -> [Self; 3] {
        let mark = Self::Meta { key: MetaKey::Mark, register: REGISTER_1 };
        [mark, Self::mask(bits.to_ne_bytes()), Self::differs([0; 4])]
    }
}
