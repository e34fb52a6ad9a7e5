//! Whole clusters on one machine, for tests: real programs, real kubectl, real containers.
//!
//! [`cluster::Cluster`] runs `bramble up` in a network namespace and a data folder of its own and takes everything
//! away when it is dropped; [`registry::Registry`] is a real registry in the same namespace. [`guest::Guest`] is a
//! machine of its own, emulated.
//! A test is a sequence of kubectl commands and what they must show.

pub mod cluster;
pub mod guest;
pub mod namespace;
pub mod process;
pub mod program;
pub mod registry;
