//! Pods on a node: from desired state to running containers, and back as status.
//!
//! Called by the agent's binary, which gives a [`Ports`] (runtime, images, network, volumes, reporter, clock) and feeds
//! a [`Fleet`] with what the server wants. One task a pod owns that pod's state.
//!
//! Reading order: [`ports`] what is asked of the other parts; [`machine`] the pure state machine, drawn there;
//! [`status`] a state as the kubelet would report it; [`spec`] a pod's container as the runtime takes it, with
//! [`env`], [`security`], [`resources`] and [`etc`]; [`worker`] the task that carries out effects; [`prober`] what
//! probes and hooks ask of a container; [`fleet`] all
//! pods of the node; [`names`] what a pod may be called; [`log_link`] where log collectors look; [`old_log`] what they need no longer; [`record`] what survives the agent; [`node`] the Node's own status, with
//! [`pressure`], [`admission`], [`eviction`] and [`storage`]; [`event`] core/v1 Events.
//!
//! Absent on purpose: nothing here knows a container
//! runtime, a registry or netlink; nothing waits for the control plane.

pub mod admission;
pub mod env;
pub mod etc;
pub mod event;
pub mod eviction;
pub mod fleet;
pub mod log_link;
pub mod machine;
pub mod names;
pub mod node;
pub mod old_log;
pub mod ports;
pub mod pressure;
pub mod prober;
pub mod record;
pub mod resources;
pub mod security;
pub mod spec;
pub mod status;
pub mod storage;
pub mod worker;

pub use fleet::Fleet;
pub use ports::Ports;
