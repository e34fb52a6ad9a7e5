//! What is mounted into containers: emptyDir, hostPath, configMap, secret, projected and downwardAPI volumes, and
//! claims on hostPath, local and `local-path` volumes.
//!
//! Called by the agent's binary on behalf of a pod's worker. In reading order: [`volumes`] the pods' volumes under one
//! folder, [`payload`] the files of a configMap, secret or projection, [`downward`] what a pod says of itself,
//! [`atomic`] how such files change without a reader seeing half of it, [`host_path`] checks of the host's paths,
//! [`claim`] what stands behind a PersistentVolumeClaim,
//! [`sub_path`] a part of a volume without a way out of it, [`mounts`] the kernel's side.
//!
//! Absent on purpose: volumes of a network (NFS, iSCSI, CSI); how service account tokens are had and renewed (the
//! bin does both).

pub mod atomic;
pub mod claim;
pub mod downward;
pub mod error;
pub mod host_path;
pub mod mounts;
pub mod payload;
pub mod sub_path;
pub mod volumes;

pub use downward::Facts;
pub use error::VolumeError;
pub use payload::Source;
pub use volumes::Volumes;
