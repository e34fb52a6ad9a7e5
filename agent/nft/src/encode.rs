//! Expressions as attributes. Attribute numbers are those of the kernel's `linux/netfilter/nf_tables.h`.

use crate::{
    attribute::{attribute, long, nested, number, text},
    expr::{End, Expr, Reject, Verdict},
};

const FAMILY_IPV4: u32 = 2;
const VERDICT_REGISTER: u32 = 0;

pub(crate) fn rule(to: &mut Vec<u8>, rule: &[Expr]) {
    for expr in rule {
        nested(to, 1, |to| {
            text(to, 1, name(expr));
            nested(to, 2, |to| fields(to, expr));
        });
    }
}

/// The content of a data attribute.
pub(crate) fn verdict(to: &mut Vec<u8>, verdict: &Verdict) {
    let (code, chain) = match verdict {
        Verdict::Drop => (0, None),
        Verdict::Accept => (1, None),
        Verdict::Jump(chain) => (-3, Some(chain)),
        Verdict::Goto(chain) => (-4, Some(chain)),
        Verdict::Return => (-5i32, None),
    };
    nested(to, 2, |to| {
        attribute(to, 1, &code.to_be_bytes());
        if let Some(chain) = chain {
            text(to, 2, chain);
        }
    });
}

fn name(expr: &Expr) -> &'static str {
    match expr {
        Expr::Meta { .. } | Expr::SetMeta { .. } => "meta",
        Expr::Conntrack { .. } | Expr::ConntrackTuple { .. } | Expr::SetConntrack { .. } => "ct",
        Expr::Payload { .. } => "payload",
        Expr::AddressType { .. } | Expr::WayBack { .. } => "fib",
        Expr::Bitwise { .. } => "bitwise",
        Expr::Compare { .. } => "cmp",
        Expr::Load { .. } | Expr::Verdict(_) => "immediate",
        Expr::Random { .. } => "numgen",
        Expr::Lookup { .. } | Expr::Map { .. } | Expr::VerdictMap { .. } => "lookup",
        Expr::Change { .. } => "dynset",
        Expr::Reject(_) => "reject",
        Expr::DestinationNat { .. } => "nat",
        Expr::Masquerade => "masq",
        Expr::Counter => "counter",
    }
}

fn numbers(to: &mut Vec<u8>, fields: &[(u16, u32)]) {
    for (kind, value) in fields {
        number(to, *kind, *value);
    }
}

fn fields(to: &mut Vec<u8>, expr: &Expr) {
    match expr {
        Expr::Meta { key, register } => numbers(to, &[(1, *register), (2, *key as u32)]),
        Expr::SetMeta { key, register } => numbers(to, &[(2, *key as u32), (3, *register)]),
        Expr::Conntrack { key, register } => numbers(to, &[(1, *register), (2, *key as u32)]),
        Expr::ConntrackTuple { key, direction, register } => {
            numbers(to, &[(1, *register), (2, *key as u32)]);
            attribute(to, 3, &[*direction as u8]);
        }
        Expr::SetConntrack { key, register } => numbers(to, &[(2, *key as u32), (4, *register)]),
        Expr::Payload { base, offset, length, register } => {
            numbers(to, &[(1, *register), (2, *base as u32), (3, *offset), (4, *length)]);
        }
        Expr::AddressType { of, register } => {
            // The type of the one address or the other.
            let flag = match of {
                End::Source => 1,
                End::Destination => 2,
            };
            numbers(to, &[(1, *register), (2, 3), (3, flag)]);
        }
        // A link's index, by source address and incoming link.
        Expr::WayBack { register } => numbers(to, &[(1, *register), (2, 1), (3, 1 | 8)]),
        Expr::Bitwise { register, mask, xor } => {
            numbers(to, &[(1, *register), (2, *register), (3, u32::try_from(mask.len()).expect("a mask is short"))]);
            nested(to, 4, |to| attribute(to, 1, mask));
            nested(to, 5, |to| attribute(to, 1, xor));
        }
        Expr::Compare { register, equal, value } => {
            numbers(to, &[(1, *register), (2, u32::from(!*equal))]);
            nested(to, 3, |to| attribute(to, 1, value));
        }
        Expr::Load { register, value } => {
            number(to, 1, *register);
            nested(to, 2, |to| attribute(to, 1, value));
        }
        Expr::Random { register, modulus, offset } => {
            numbers(to, &[(1, *register), (2, *modulus), (3, 1), (4, *offset)]);
        }
        Expr::Lookup { .. } | Expr::Map { .. } | Expr::VerdictMap { .. } | Expr::Change { .. } => of_set(to, expr),
        Expr::Verdict(given) => {
            number(to, 1, VERDICT_REGISTER);
            nested(to, 2, |to| verdict(to, given));
        }
        Expr::Reject(Reject::IcmpPortUnreachable) => {
            number(to, 1, 0);
            attribute(to, 2, &[3]);
        }
        Expr::Reject(Reject::TcpReset) => number(to, 1, 1),
        Expr::DestinationNat { address, port } => numbers(to, &[(1, 1), (2, FAMILY_IPV4), (3, *address), (5, *port)]),
        Expr::Masquerade | Expr::Counter => {}
    }
}

fn of_set(to: &mut Vec<u8>, expr: &Expr) {
    match expr {
        Expr::Lookup { set, register, within } => {
            text(to, 1, set);
            numbers(to, &[(2, *register), (5, u32::from(!*within))]);
        }
        Expr::Map { set, register, into } => {
            text(to, 1, set);
            numbers(to, &[(2, *register), (3, *into)]);
        }
        Expr::VerdictMap { set, register } => {
            text(to, 1, set);
            numbers(to, &[(2, *register), (3, VERDICT_REGISTER)]);
        }
        Expr::Change { change, set, key, data, timeout_ms } => {
            text(to, 1, set);
            numbers(to, &[(3, *change as u32), (4, *key)]);
            if let Some(data) = data {
                number(to, 5, *data);
            }
            if let Some(timeout_ms) = timeout_ms {
                long(to, 6, *timeout_ms);
            }
        }
        _ => unreachable!("only what names a set comes here"),
    }
}
