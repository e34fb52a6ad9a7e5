//! The scheduler: which node a pod goes to.
//!
//! Called by the server's start through [`run()`]. In reading order: [`resources`] amounts as integers, [`pod`] and
//! [`node`] what is kept of each, parsed once, [`affinity`] and [`taint`] their conditions on each other, [`filter`] which
//! nodes a pod can go to, [`score`] which of them suits best, [`cache`] the nodes with what is placed on them,
//! [`pick`] filter and score together, and [`mod@run`] the loop that binds.
//!
//! Everything but `run` is pure. Usage is kept up by every pod's arrival and end, so that a decision looks at each node
//! once and at no pod.
//!
//! Absent on purpose: preemption, affinity between pods, topology spread, volumes: not yet. Pods of other schedulers
//! are left alone, and count where they are placed.

pub mod affinity;
pub mod cache;
pub mod filter;
pub mod node;
pub mod pending;
pub mod pick;
pub mod pod;
pub mod resources;
pub mod run;
pub mod score;
pub mod taint;

pub use run::run;
