//! Role-based access control: Roles and ClusterRoles, and the bindings that give them to users.
//!
//! In reading order: [`rule`] what one rule allows, [`index`] all roles and bindings parsed and ordered by subject,
//! [`follow`] the index kept current from the store, [`cover`] whether rules hold everything that other rules do,
//! [`guard`] nobody grants more than they have, [`defaults`] and [`reconcile`] the roles that every cluster has.

pub mod cover;
pub mod defaults;
pub mod follow;
pub mod guard;
pub mod index;
pub mod reconcile;
pub mod rule;

pub use follow::Rbac;
pub use index::{Index, Source};
pub use rule::Rule;
