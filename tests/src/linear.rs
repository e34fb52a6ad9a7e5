//! Whether what concurrent clients were answered can have happened one after the other.
//!
//! A history is linearizable if each operation can be given a moment between its call and its answer so that, done at
//! these moments, each would have been answered just so. Objects do not depend on each other, so each key is judged for
//! itself. An operation without an answer may have happened at any moment after its call, or never.

use std::collections::{BTreeMap, HashMap, HashSet};

/// What was asked of a key. Values are unique in a history; `base` is the resourceVersion that the key must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Create { value: u64 },
    Update { value: u64, base: Option<u64> },
    Delete { base: Option<u64> },
    Get,
}

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Written; a deletion tells no revision.
    Done(Option<u64>),
    Found {
        value: u64,
        revision: u64,
    },
    Missing,
    Exists,
    Conflict,
    /// No answer came.
    Unknown,
}

/// One request and its answer, between two moments of one clock.
#[derive(Debug, Clone)]
pub struct Operation {
    pub key: String,
    pub action: Action,
    pub outcome: Outcome,
    pub called: u64,
    pub answered: u64,
}

/// Operations of one key; a set of them is the bits of a number.
const OPERATIONS_PER_KEY_MAX: usize = 128;

/// Judges a history; the error tells the key and what happened to it.
pub fn check(history: &[Operation]) -> Result<(), String> {
    let mut keys: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        keys.entry(&operation.key).or_default().push(operation);
    }
    for (key, mut operations) in keys {
        // What was not answered and changes nothing says nothing.
        operations.retain(|operation| (operation.action, operation.outcome) != (Action::Get, Outcome::Unknown));
        operations.sort_by_key(|operation| operation.called);
        assert!(operations.len() <= OPERATIONS_PER_KEY_MAX, "{} operations of {key} are too many", operations.len());
        let revisions = revisions(&operations)?;
        if !(Search { operations: &operations, revisions, seen: HashSet::new() }).from(0, State::default()) {
            let lines: Vec<String> = operations.iter().map(|operation| format!("  {operation:?}")).collect();
            return Err(format!("{key} is not linearizable:\n{}", lines.join("\n")));
        }
    }
    Ok(())
}

/// The revision of each value that anybody saw.
fn revisions(operations: &[&Operation]) -> Result<HashMap<u64, u64>, String> {
    let mut revisions = HashMap::new();
    for operation in operations {
        let seen = match (operation.action, operation.outcome) {
            (Action::Create { value } | Action::Update { value, .. }, Outcome::Done(Some(revision)))
            | (Action::Get, Outcome::Found { value, revision }) => (value, revision),
            _ => continue,
        };
        let first = *revisions.entry(seen.0).or_insert(seen.1);
        if first != seen.1 {
            return Err(format!("{}: value {} has revisions {first} and {}", operation.key, seen.0, seen.1));
        }
    }
    Ok(revisions)
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct State {
    value: Option<u64>,
    /// The newest revision that is known to have been given.
    revision: u64,
}

struct Search<'a> {
    operations: &'a [&'a Operation],
    revisions: HashMap<u64, u64>,
    /// Sets of operations done and the states they led to, from where nothing was found.
    seen: HashSet<(u128, State)>,
}

impl Search<'_> {
    /// Whether the operations that are not in `done` can follow.
    fn from(&mut self, done: u128, state: State) -> bool {
        let left = |index: &usize| done & (1 << index) == 0;
        let unanswered = |index: &usize| self.operations[*index].outcome == Outcome::Unknown;
        let answered = (0..self.operations.len()).filter(left).filter(|index| !unanswered(index));
        let Some(first_answer) = answered.map(|index| self.operations[index].answered).min() else { return true };
        if !self.seen.insert((done, state)) {
            return false;
        }
        let next: Vec<usize> =
            (0..self.operations.len()).filter(left).filter(|at| self.operations[*at].called < first_answer).collect();
        next.into_iter().any(|index| {
            let after = self.apply(self.operations[index], state);
            after.is_some_and(|after| self.from(done | 1 << index, after))
        })
    }

    /// The state after an operation, if it can have been answered so in `state`.
    fn apply(&self, operation: &Operation, state: State) -> Option<State> {
        let current = state.value.and_then(|value| self.revisions.get(&value));
        let fits = |base: Option<u64>| base.is_none() || current.copied() == base;
        let (right, value) = match operation.action {
            Action::Create { value } if state.value.is_none() => (Outcome::Done(None), Some(value)),
            Action::Create { .. } => (Outcome::Exists, state.value),
            Action::Get => match state.value {
                Some(value) => (Outcome::Found { value, revision: *current? }, state.value),
                None => (Outcome::Missing, None),
            },
            Action::Update { .. } | Action::Delete { .. } if state.value.is_none() => (Outcome::Missing, None),
            Action::Update { base, .. } | Action::Delete { base } if !fits(base) => (Outcome::Conflict, state.value),
            Action::Update { value, .. } => (Outcome::Done(None), Some(value)),
            Action::Delete { .. } => (Outcome::Done(None), None),
        };
        let written = value.filter(|value| Some(*value) != state.value).and_then(|value| self.revisions.get(&value));
        let revision = match written {
            Some(revision) if *revision <= state.revision => return None,
            Some(revision) => *revision,
            None => state.revision,
        };
        let answered = match (operation.outcome, right) {
            // Unanswered, it did something; that it did nothing is tried by leaving it out.
            (Outcome::Unknown, Outcome::Done(_)) | (Outcome::Done(_), Outcome::Done(_)) => true,
            (told, right) => told == right,
        };
        answered.then_some(State { value, revision })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(called: u64, answered: u64, action: Action, outcome: Outcome) -> Operation {
        Operation { key: "a".to_owned(), action, outcome, called, answered }
    }

    fn created(called: u64, answered: u64, outcome: Outcome) -> Operation {
        operation(called, answered, Action::Create { value: 1 }, outcome)
    }

    fn found(called: u64, answered: u64, value: u64) -> Operation {
        operation(called, answered, Action::Get, Outcome::Found { value, revision: value * 10 })
    }

    fn missing(called: u64, answered: u64) -> Operation {
        operation(called, answered, Action::Get, Outcome::Missing)
    }

    #[test]
    fn a_read_beside_a_write_may_see_it_or_not_but_never_first_and_then_not() {
        let write = created(0, 9, Outcome::Done(Some(10)));
        check(&[write.clone(), missing(1, 2), found(3, 4, 1)]).unwrap();
        check(&[write, found(1, 2, 1), missing(3, 4)]).unwrap_err();
    }

    #[test]
    fn what_was_acknowledged_is_never_lost() {
        check(&[created(0, 1, Outcome::Done(Some(10))), missing(2, 3)]).unwrap_err();
        let update = Action::Update { value: 2, base: Some(10) };
        let history =
            [created(0, 1, Outcome::Done(Some(10))), operation(2, 3, update, Outcome::Done(Some(20))), found(4, 5, 1)];
        check(&history).unwrap_err();
    }

    #[test]
    fn what_was_not_answered_may_have_happened_at_any_later_moment_or_never() {
        let write = created(0, u64::MAX, Outcome::Unknown);
        check(&[write.clone(), missing(1, 2), missing(3, 4), found(5, 6, 1)]).unwrap();
        check(&[write.clone(), missing(1, 2)]).unwrap();
        check(&[write, found(1, 2, 1), missing(3, 4)]).unwrap_err();
    }

    #[test]
    fn of_two_swaps_from_one_version_one_fails() {
        let swap = |value, outcome| operation(2, 9, Action::Update { value, base: Some(10) }, outcome);
        let first = created(0, 1, Outcome::Done(Some(10)));
        check(&[first.clone(), swap(2, Outcome::Done(Some(20))), swap(3, Outcome::Conflict)]).unwrap();
        check(&[first, swap(2, Outcome::Done(Some(20))), swap(3, Outcome::Done(Some(30)))]).unwrap_err();
    }

    #[test]
    fn revisions_only_grow() {
        let delete = operation(2, 3, Action::Delete { base: None }, Outcome::Done(None));
        let again = |revision| operation(4, 5, Action::Create { value: 2 }, Outcome::Done(Some(revision)));
        let first = created(0, 1, Outcome::Done(Some(10)));
        check(&[first.clone(), delete.clone(), again(20)]).unwrap();
        check(&[first, delete, again(9)]).unwrap_err();
    }
}
