//! Label and field selectors, as in `labelSelector=` and `fieldSelector=` and in `spec.selector`.

mod field;
mod label;
mod parse;

pub use field::{FieldSelector, FieldSelectorError, supported_fields};
pub use label::{LabelSelector, Requirement, SelectorError};
