//! Whatever changes come, the elements in the kernel are those of a table built anew, and few of them change.

use std::collections::BTreeMap;

use agent_nft::ElementData;
use proptest::prelude::*;

use super::*;

/// A set of the kernel: a refused change fails the test.
#[derive(Default, Debug, PartialEq)]
struct Kernel(BTreeMap<Vec<u8>, Option<ElementData>>);

impl Kernel {
    fn take(&mut self, edit: &Edit) {
        for element in &edit.deleted {
            assert_eq!(self.0.remove(&element.key), Some(element.data.clone()), "deleted what was not there");
        }
        for element in &edit.added {
            assert_eq!(self.0.insert(element.key.clone(), element.data.clone()), None, "added what was there");
        }
    }
}

#[derive(Default)]
struct Table {
    state: State,
    services: Kernel,
    endpoints: Kernel,
    sources: Kernel,
    hairpin: Kernel,
    chains: BTreeSet<String>,
}

impl Table {
    fn apply(&mut self, plans: &BTreeMap<u8, Option<Plan>>) -> Changes {
        let mut changes = Changes::default();
        for (front, plan) in plans {
            self.state.change(front_of(*front), plan.clone(), &mut changes);
        }
        self.services.take(&changes.services);
        self.endpoints.take(&changes.endpoints);
        self.sources.take(&changes.sources);
        self.hairpin.take(&self.state.hairpin(&changes));
        self.chains.extend(changes.chains.iter().map(Shape::name));
        for element in self.services.0.values() {
            let Some(ElementData::Verdict(agent_nft::Verdict::Goto(chain))) = element else { continue };
            assert!(chain == crate::ruleset::REFUSE || self.chains.contains(chain.as_ref()), "{chain} is not there");
        }
        changes
    }
}

fn front_of(n: u8) -> Front {
    Front { address: [10, 43, 0, n].into(), protocol: Protocol::Tcp, port: 80 }
}

fn target_of(n: u8) -> Target {
    Target { address: [10, 42, 0, n].into(), port: 8080, near: n.is_multiple_of(2) }
}

fn targets() -> impl Strategy<Value = Vec<Target>> {
    prop::collection::btree_set(0u8..12, 0..8).prop_map(|chosen| chosen.into_iter().map(target_of).collect())
}

fn plan() -> impl Strategy<Value = Plan> {
    let inside = prop::option::of(targets());
    let sources = prop::collection::btree_set(0u8..4, 0..3)
        .prop_map(|chosen| chosen.into_iter().map(|n| Ipv4Range::new([n, 0, 0, 0].into(), 8)).collect());
    (targets(), inside, sources, any::<bool>(), prop::option::of(1u32..3)).prop_map(
        |(targets, inside, sources, masquerade, sticky_seconds)| Plan {
            refuse: targets.is_empty() && inside.as_ref().is_none_or(Vec::is_empty),
            targets,
            inside,
            masquerade,
            sticky_seconds,
            sources,
        },
    )
}

fn batches() -> impl Strategy<Value = Vec<BTreeMap<u8, Option<Plan>>>> {
    prop::collection::vec(prop::collection::btree_map(0u8..5, prop::option::of(plan()), 1..4), 1..12)
}

/// What leads from each front, without regard to the order.
fn led_to(endpoints: &Kernel) -> BTreeSet<(Vec<u8>, Option<Vec<u8>>)> {
    let value = |data: &Option<ElementData>| match data {
        Some(ElementData::Value(value)) => Some(value.clone()),
        _ => None,
    };
    // The index's offset stays, its place in the list goes.
    endpoints.0.iter().map(|(key, data)| ([&key[..12], &key[14..]].concat(), value(data))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn many_changes_end_where_one_would(batches in batches()) {
        let mut table = Table::default();
        let mut all: BTreeMap<u8, Option<Plan>> = BTreeMap::new();
        for batch in &batches {
            table.apply(batch);
            all.extend(batch.clone());
        }
        let mut anew = Table::default();
        anew.apply(&all);
        prop_assert_eq!(&table.services, &anew.services);
        prop_assert_eq!(&table.sources, &anew.sources);
        prop_assert_eq!(&table.hairpin, &anew.hairpin);
        prop_assert_eq!(led_to(&table.endpoints), led_to(&anew.endpoints));
        prop_assert_eq!(table.endpoints.0.len(), anew.endpoints.0.len(), "indexes have no holes");
        prop_assert_eq!(
            table.endpoints.0.keys().collect::<Vec<_>>(),
            anew.endpoints.0.keys().collect::<Vec<_>>(),
            "indexes have no holes"
        );
    }
}

#[test]
fn a_target_more_less_or_other_changes_as_many_elements_as_it_must() {
    let plan = |targets: &[u8]| Plan { targets: targets.iter().copied().map(target_of).collect(), ..Plan::default() };
    let mut table = Table::default();
    table.apply(&[(1, Some(plan(&[1, 2, 3])))].into());
    let counts = |changes: &Changes| {
        (changes.services.added.len(), changes.endpoints.deleted.len(), changes.endpoints.added.len())
    };
    for (targets, expected) in [
        (vec![1, 2, 3, 4], (1, 0, 1)),
        (vec![2, 3, 4], (1, 2, 1)),
        (vec![2, 3, 5], (0, 1, 1)),
        (vec![5, 3, 2], (0, 0, 0)),
    ] {
        let changes = table.apply(&[(1, Some(plan(&targets)))].into());
        assert_eq!(counts(&changes), expected, "{targets:?}");
    }
}
