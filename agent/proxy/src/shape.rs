//! A chain for every front of the same shape: how many targets, and what is done on the way. It knows no Service;
//! where a packet goes is looked up by its front and an index.

use agent_nft::{Chain, End, Expr, SetChange, Verdict, word};

use crate::{
    config::Config,
    front::{Front, NODE, Plan},
    ruleset::{MASQUERADE_BIT, REFUSE, front_at},
};

/// Where the indexes of the targets for pods and the node itself begin.
pub(crate) const INSIDE: u32 = 1 << 16;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Shape {
    pub targets: u32,
    pub inside: Option<u32>,
    pub node_port: bool,
    pub masquerade: bool,
    pub sources: bool,
    pub sticky_seconds: Option<u32>,
}

/// What the map of Services says for a front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Refuse,
    Drop,
    Pick(Shape),
}

impl Route {
    pub fn of(front: &Front, plan: &Plan) -> Self {
        let count = |targets: &Vec<_>| u32::try_from(targets.len()).expect("targets are limited");
        if plan.refuse {
            return Self::Refuse;
        }
        if plan.targets.is_empty() && plan.inside.as_ref().is_none_or(Vec::is_empty) {
            return Self::Drop;
        }
        Self::Pick(Shape {
            targets: count(&plan.targets),
            inside: plan.inside.as_ref().map(count),
            node_port: front.address == NODE,
            masquerade: plan.masquerade,
            sources: !plan.sources.is_empty(),
            sticky_seconds: plan.sticky_seconds,
        })
    }

    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Refuse => Verdict::Goto(REFUSE.into()),
            Self::Drop => Verdict::Drop,
            Self::Pick(shape) => Verdict::Goto(shape.name().into()),
        }
    }

    pub fn shape(&self) -> Option<&Shape> {
        match self {
            Self::Pick(shape) => Some(shape),
            Self::Refuse | Self::Drop => None,
        }
    }
}

impl Shape {
    /// Such as `n3`, or `n1-inside3-port` for a NodePort with one target here and three in the cluster.
    pub fn name(&self) -> String {
        let mut name = format!("n{}", self.targets);
        if let Some(inside) = self.inside {
            name += &format!("-inside{inside}");
        }
        if let Some(seconds) = self.sticky_seconds {
            name += &format!("-sticky{seconds}");
        }
        for (is, suffix) in [(self.node_port, "-port"), (self.masquerade, "-masquerade"), (self.sources, "-sources")] {
            if is {
                name += suffix;
            }
        }
        name
    }

    pub fn chain(&self, config: &Config) -> Chain {
        let mut rules = Vec::new();
        if self.sources {
            let mut rule = front_at(0, self.node_port).to_vec();
            rule.extend([
                Expr::address(End::Source, word(3)),
                Expr::Lookup { set: "sources".into(), register: word(0), within: false },
                Expr::Verdict(Verdict::Drop),
            ]);
            rules.push(rule);
        }
        if let Some(count) = self.inside {
            let pods = config.cluster_range;
            self.picks(
                &mut rules,
                &Expr::address_within(End::Source, pods.base(), pods.prefix_len(), true),
                count,
                INSIDE,
            );
            let node = [Expr::address_is_local(End::Source).as_slice(), &Expr::set_mark_bits(MASQUERADE_BIT)].concat();
            self.picks(&mut rules, &node, count, INSIDE);
        }
        if self.masquerade {
            rules.push(Expr::set_mark_bits(MASQUERADE_BIT).to_vec());
        }
        self.picks(&mut rules, &[], self.targets, 0);
        rules.push(vec![Expr::Verdict(Verdict::Drop)]);
        Chain::named(self.name(), rules)
    }

    fn picks(&self, rules: &mut Vec<Vec<Expr>>, condition: &[Expr], count: u32, offset: u32) {
        if count == 0 {
            return;
        }
        let any = || Expr::Random { register: word(4), modulus: count, offset };
        // One of one: in the middle of a key `nft` can list this, and a constant it cannot.
        let at = |index: u32| Expr::Random { register: word(4), modulus: 1, offset: offset + index };
        if let Some(seconds) = self.sticky_seconds {
            let known = Expr::Lookup { set: "affinity".into(), register: word(0), within: true };
            let remember = || Expr::Change {
                change: SetChange::Update,
                set: "affinity".into(),
                key: word(0),
                data: None,
                timeout_ms: Some(u64::from(seconds) * 1000),
            };
            for index in 0..count {
                rules.push(self.pick(condition, at(index), &[known.clone(), remember()]));
            }
            rules.push(self.pick(condition, any(), &[remember()]));
        }
        // Reached where the memory of clients is full, too.
        rules.push(self.pick(condition, any(), &[]));
        // While a change takes hold, a packet may come by an older count than the map's; the first index is there.
        if count > 1 {
            rules.push(self.pick(condition, at(0), &[]));
        }
    }

    /// Registers: client, front (3 words), index; then address and port.
    fn pick(&self, condition: &[Expr], index: Expr, then: &[Expr]) -> Vec<Expr> {
        let mut rule = condition.to_vec();
        if !then.is_empty() {
            rule.push(Expr::address(End::Source, word(0)));
        }
        rule.extend(front_at(1, self.node_port));
        rule.push(index);
        rule.extend(then.iter().cloned());
        rule.extend([
            Expr::Map { set: "endpoints".into(), register: word(1), into: word(5) },
            Expr::DestinationNat { address: word(5), port: word(6) },
        ]);
        rule
    }
}
