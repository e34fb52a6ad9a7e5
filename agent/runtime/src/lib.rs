//! Shim, sandboxes and containers of Bramble's node agent.

mod dispatch;
mod error;
mod runtime;
mod spec;
mod status;

pub use dispatch::dispatch;
pub use error::RuntimeError;
pub use runtime::{Config, ExecHandle, Runtime};
pub use spec::{ContainerSpec, Device, ExecSpec, Mount, Propagation, QosClass, Resources, SandboxSpec, Seccomp, User};
pub use status::{ContainerState, ContainerStatus, Exit, Exited, Sandbox, SandboxStatus, Stats};
