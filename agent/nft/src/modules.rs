//! Parts of the kernel that our rules are made of. Most kernels have them as modules, and load each as a rule asks
//! for it.

use nix::libc;

use crate::{
    batch::{Batch, FAMILY_IPV4, message},
    error::Error,
    expr::{ConntrackKey, End, Expr, REGISTER_1, Reject},
    socket::Socket,
    table::{Chain, ChainKind, Hook, HookPoint},
};

/// Of a table that never comes to be.
const REHEARSAL: &str = "bramble-rehearsal";
const CONNTRACK_STATISTICS: u16 = 1 << 8 | 5;
const ACKNOWLEDGE: u16 = 0x4;

impl Socket {
    /// Makes the kernel load what it needs for our rules, one module after the other, and tells which it cannot have.
    /// Changes nothing: the rules that ask for the modules are never committed.
    ///
    /// Called before anything else of nftables is, since two that want a module at once may see it half loaded: some
    /// programs that load modules take one that is being loaded for one that is there.
    pub fn missing_modules(&mut self) -> Result<Vec<&'static str>, Error> {
        let mut missing = Vec::new();
        if !self.takes(|_| {})? {
            // Nothing can be told of the others.
            return Ok(vec!["nf_tables"]);
        }
        let hook = Hook { kind: ChainKind::Nat, point: HookPoint::Prerouting, priority: 0 };
        if !self.takes(|batch| batch.chain(REHEARSAL, &Chain::base("chain", hook, Vec::new())))? {
            missing.push("nft_chain_nat");
        }
        for (module, rule) in rules() {
            let chain = Chain::named("chain", vec![rule]);
            let fill = |batch: &mut Batch| {
                batch.chain(REHEARSAL, &chain);
                batch.rules(REHEARSAL, &chain);
            };
            if !self.takes(fill)? {
                missing.push(module);
            }
        }
        if !self.has_conntrack()? {
            missing.push("nf_conntrack_netlink");
        }
        Ok(missing)
    }

    /// Whether the kernel knows all of what such a table would hold.
    fn takes(&mut self, fill: impl FnOnce(&mut Batch)) -> Result<bool, Error> {
        let mut batch = Batch::new();
        batch.table(REHEARSAL);
        fill(&mut batch);
        known(self.rehearse(batch), &[libc::ENOENT, libc::EOPNOTSUPP])
    }

    fn has_conntrack(&mut self) -> Result<bool, Error> {
        let mut request = Vec::new();
        message(&mut request, CONNTRACK_STATISTICS, ACKNOWLEDGE, 1, (FAMILY_IPV4, 0), |_| {});
        known(self.ask("count connections", &request, |_, _| {}), &[libc::EINVAL, libc::EOPNOTSUPP])
    }
}

/// A rule for each module.
fn rules() -> [(&'static str, Vec<Expr>); 6] {
    let register = REGISTER_1;
    let target = Expr::Load { register, value: vec![0; 4] };
    [
        ("nft_ct", vec![Expr::Conntrack { key: ConntrackKey::State, register }]),
        ("nft_fib_ipv4", vec![Expr::AddressType { of: End::Destination, register }]),
        ("nft_numgen", vec![Expr::Random { register, modulus: 2, offset: 0 }]),
        ("nft_reject_ipv4", vec![Expr::Reject(Reject::TcpReset)]),
        ("nft_masq", vec![Expr::Masquerade]),
        ("nft_nat", vec![target, Expr::DestinationNat { address: register, port: register }]),
    ]
}

/// Whether it was refused for want of somebody who knows it.
fn known(result: Result<(), Error>, unknown: &[i32]) -> Result<bool, Error> {
    match result {
        Ok(()) => Ok(true),
        Err(Error::Refused { source, .. }) if source.raw_os_error().is_some_and(|code| unknown.contains(&code)) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
