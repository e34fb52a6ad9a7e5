//! Shim, sandboxes and containers of Bramble's node agent: the only user of libcontainer.
//!
//! Called by the agent's main, which calls [`dispatch`] before all else and glues a [`Runtime`] to the pods' workers.
//! The agent has threads and never builds a container itself: libcontainer forks with a raw clone3 and deadlocks in
//! such a process. So the binary is executed again in other roles:
//!
//! ```text
//! agent ──socket── shim, one per pod ──spawns── worker, one per create or exec, ends at once
//!   │               └ parent of every container's first process and of every exec
//!   └─spawns── namespace helper, ends at once
//! ```
//!
//! In reading order: `spec` and `status` are what goes in and out; `layout` is what lies on disk; `runtime` is the
//! agent's side, `protocol` the socket between, `shim` the process that stays; `worker` builds containers from what
//! `oci` renders; `enforce` refuses what could not hold; `namespaces` and `cgroup` are what a pod's containers share;
//! `users` and `idmap` are the ids of pods whose root is not the host's, and `trial` finds out whether the machine has
//! them; `program` is this binary, out of containers' reach.
//!
//! Absent on purpose: images and root filesystems (the caller mounts them), addresses and links (the caller is given
//! the network namespace's path), a pause process (bind mounts hold the namespaces), and any external program.

mod cgroup;
mod dispatch;
mod enforce;
mod error;
#[cfg(any(fuzzing, debug_assertions))]
pub mod fuzzing;
mod holder;
mod idmap;
mod layout;
mod namespaces;
mod oci;
mod program;
mod protocol;
mod runtime;
mod shim;
mod spec;
mod status;
mod trial;
mod users;
mod worker;

pub use dispatch::dispatch;
pub use error::RuntimeError;
pub use idmap::mount_layer;
pub use runtime::{AttachHandle, AttachSpec, Config, ExecHandle, Resizer, Runtime};
pub use spec::{ContainerSpec, Device, ExecSpec, Mount, Propagation, QosClass, Resources, SandboxSpec, Seccomp, User};
pub use status::{ContainerState, ContainerStatus, Exit, Exited, Sandbox, SandboxStatus, Stats};
pub use trial::UserNamespaces;
pub use users::UserNamespace;
