use std::collections::HashSet;

use agent_nft::{Batch, Element, Ruleset};

/// What makes the kernel's table the wanted one.
#[derive(Debug)]
pub(crate) enum Change {
    Nothing,
    /// Of sets; nothing else differs.
    Elements(Batch),
    Whole,
}

pub(crate) fn difference(had: &Ruleset, wanted: &Ruleset) -> Change {
    let same_sets =
        had.sets.len() == wanted.sets.len() && had.sets.iter().zip(&wanted.sets).all(|((a, _), (b, _))| a == b);
    if had.table != wanted.table || had.chains != wanted.chains || !same_sets {
        return Change::Whole;
    }
    let (mut batch, table) = (Batch::new(), &wanted.table);
    for ((set, had), (_, wanted)) in had.sets.iter().zip(&wanted.sets) {
        let gone = without(had, wanted);
        let new = without(wanted, had);
        // Ranges that replace others may overlap with them until they are gone.
        if set.intervals && !gone.is_empty() {
            return Change::Whole;
        }
        if !gone.is_empty() {
            batch.delete(table, set, &gone);
        }
        if !new.is_empty() {
            batch.add(table, set, &new);
        }
    }
    if batch.is_empty() { Change::Nothing } else { Change::Elements(batch) }
}

fn without(all: &[Element], others: &[Element]) -> Vec<Element> {
    let key = |element: &Element| (element.key.clone(), element.last.clone());
    let others: HashSet<_> = others.iter().map(key).collect();
    all.iter().filter(|element| !others.contains(&key(element))).cloned().collect()
}
