//! Amounts of resources as integers: parsed once, added and compared often.

use std::collections::BTreeMap;

use control_api::quantity::Quantity;
use control_api::view::Quantity as Text;

/// What a pod asks for, or what a node has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    pub cpu_milli: i64,
    pub memory_bytes: i64,
    pub ephemeral_storage_bytes: i64,
    pub pods: i64,
    /// Extended resources by name.
    pub extended: BTreeMap<String, i64>,
}

impl Resources {
    /// Reads a `requests`, `capacity` or `allocatable`; what cannot be read counts as nothing.
    pub fn read(amounts: Option<&BTreeMap<String, Text>>) -> Self {
        let mut resources = Self::default();
        for (name, text) in amounts.into_iter().flatten() {
            let quantity = Quantity::parse(&text.0).unwrap_or(Quantity::ZERO);
            let clamp = |amount: i128| i64::try_from(amount).unwrap_or(i64::MAX);
            match name.as_str() {
                "cpu" => resources.cpu_milli = clamp(quantity.milli()),
                "memory" => resources.memory_bytes = clamp(quantity.units()),
                "ephemeral-storage" => resources.ephemeral_storage_bytes = clamp(quantity.units()),
                "pods" => resources.pods = clamp(quantity.units()),
                other => drop(resources.extended.insert(other.to_owned(), clamp(quantity.units()))),
            }
        }
        resources
    }

    pub fn add(&mut self, other: &Self) {
        self.combine(other, i64::saturating_add);
    }

    pub fn subtract(&mut self, other: &Self) {
        self.combine(other, i64::saturating_sub);
    }

    /// Each amount becomes the larger of both.
    pub fn raise_to(&mut self, other: &Self) {
        self.combine(other, i64::max);
    }

    fn combine(&mut self, other: &Self, with: fn(i64, i64) -> i64) {
        self.cpu_milli = with(self.cpu_milli, other.cpu_milli);
        self.memory_bytes = with(self.memory_bytes, other.memory_bytes);
        self.ephemeral_storage_bytes = with(self.ephemeral_storage_bytes, other.ephemeral_storage_bytes);
        self.pods = with(self.pods, other.pods);
        for (name, amount) in &other.extended {
            let mine = self.extended.entry(name.clone()).or_default();
            *mine = with(*mine, *amount);
        }
    }
}
