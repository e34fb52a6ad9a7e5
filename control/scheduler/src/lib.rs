//! The scheduler: which node a pod goes to.
//!
//! Called by the server's start through [`run()`]. In reading order: [`resources`] amounts as integers, [`pod`] and
//! [`node`] what is kept of each, parsed once, [`affinity`] and [`taint`] their conditions on each other, [`filter`] which
//! nodes a pod can go to, [`volume`] what its claims say about them, [`image`] what its images are called, [`platforms`] what is known of
//! the platforms that they are for, [`lookup`] how it is asked, [`score`] which of
//! them suits best, [`cache`] the nodes with what is placed on them,
//! [`pick`] filter and score together, and [`mod@run`] the loop that binds.
//!
//! Everything but `run` is pure. Usage is kept up by every pod's arrival and end, so that a decision looks at each node
//! once and at no pod.
//!
//! Absent on purpose: preemption, affinity between pods, topology spread: not yet. Pods of other schedulers
//! are left alone, and count where they are placed.

pub mod affinity;
pub mod cache;
pub mod filter;
pub mod image;
pub mod lookup;
pub mod node;
pub mod pending;
pub mod pick;
pub mod platforms;
pub mod pod;
pub mod resources;
pub mod run;
pub mod score;
pub mod taint;
pub mod volume;

pub use run::run;
