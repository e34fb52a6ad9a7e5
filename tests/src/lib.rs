//! Whole clusters on one machine, for tests: real programs, real kubectl, real containers.
//!
//! [`cluster::Cluster`] runs `bramble up` in a network namespace and a data folder of its own and takes everything
//! away when it is dropped ([`tended::Tended`] starts what a test kills anew at once); [`lab::Lab`] is a server and several nodes, each a machine on one LAN; [`registry::Registry`] is a real registry in the same namespace. [`guest::Guest`] is a
//! machine of its own, emulated, which may be one of a lab's ([`guest::machine::GuestMachine`]), or boot from a flashed card ([`guest::card::CardMachine`]).
//! [`belongings`] counts what a cluster holds of its machine. [`disk::Disk`] is a disk that loses power, for the stores' own tests; what they draw comes from [`luck`].
//! [`linear`] judges what concurrent clients were answered.
//! [`isolation`] is what containers must say of theirs.
//! A test is a sequence of kubectl commands and what they must show.

pub mod belongings;
pub mod cluster;
pub mod disk;
pub mod guest;
pub mod isolation;
pub mod lab;
pub mod linear;
pub mod luck;
pub mod namespace;
pub mod packages;
pub mod process;
pub mod program;
pub mod registry;
pub mod tended;
pub mod users;
