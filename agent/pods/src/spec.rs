//! A pod's sandbox and containers as the runtime takes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use control_api::view::core::{Container, Pod, VolumeMount};

use crate::env::{Builder, EnvError, Environment};
use crate::etc::{self, FqdnTooLong};
use crate::ports::{ContainerSpec, HostPort, Image, Mount, Objects, PodFacts, Propagation, SandboxSpec, UserIds};
use crate::resources::{self, Asks};
use crate::security::{self, SecurityError};

const TERMINATION_MESSAGE_PATH: &str = "/dev/termination-log";

/// Why a container cannot be described; shown as CreateContainerConfigError.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    #[error(transparent)]
    Env(#[from] EnvError),
    #[error(transparent)]
    Security(#[from] SecurityError),
    #[error("no command specified")]
    NoCommand,
}

/// Where the node can do it, which all can that run containers.
pub fn is_recursively_read_only(mount: &VolumeMount) -> bool {
    matches!(mount.recursive_read_only.as_deref(), Some("Enabled" | "IfPossible"))
}

/// Where a pod's logs are: `NS_POD_UID` below the node's folder of logs.
pub fn log_dir(root: &Path, pod: &Pod) -> PathBuf {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let meta = &pod.metadata;
    root.join(format!("{}_{}_{}", text(&meta.namespace), text(&meta.name), text(&meta.uid)))
}

pub fn sandbox(pod: &Pod, log_dir: PathBuf, domain: &str) -> Result<SandboxSpec, FqdnTooLong> {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let spec = pod.spec.clone().unwrap_or_default();
    let sysctls = spec.security_context.and_then(|context| context.sysctls);
    let sysctls: BTreeMap<_, _> = sysctls.into_iter().flatten().map(|one| (one.name, one.value)).collect();
    Ok(SandboxSpec {
        uid: text(&pod.metadata.uid),
        namespace: text(&pod.metadata.namespace),
        name: text(&pod.metadata.name),
        hostname: etc::kernel_hostname(pod, domain)?,
        host_network: spec.host_network == Some(true),
        host_pid: spec.host_pid == Some(true),
        host_ipc: spec.host_ipc == Some(true),
        share_process_namespace: spec.share_process_namespace == Some(true),
        user_namespace: spec.host_users == Some(false),
        sysctls,
        qos: resources::qos(pod),
        limits: resources::pod_limits(pod),
        log_dir,
    })
}

/// The containers that run as long as the pod does: the main ones and sidecars.
pub fn lasting(pod: &Pod) -> impl Iterator<Item = &Container> {
    let init = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let sidecars = init.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    sidecars.chain(pod.spec.iter().flat_map(|spec| &spec.containers))
}

/// The ports that containers publish on the node.
pub fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let ports = lasting(pod).flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            Some(HostPort {
                udp: port.protocol.as_deref() == Some("UDP"),
                host_ip: port.host_ip.as_ref().and_then(|ip| ip.parse().ok()),
                host_port: u16::try_from(port.host_port?).ok()?,
                container_port: u16::try_from(port.container_port).ok()?,
            })
        })
        .collect()
}

/// What a container's description is made from.
pub struct Sources<'a> {
    pub pod: &'a Pod,
    pub container: &'a Container,
    pub image: &'a Image,
    pub objects: &'a dyn Objects,
    pub facts: &'a PodFacts,
}

impl Sources<'_> {
    /// The environment: the image's, then the pod's own, which may refer only to itself.
    pub fn environment(&self) -> Result<Environment, EnvError> {
        let Self { pod, container, objects, facts, .. } = *self;
        Builder { pod, container, objects, facts }.build()
    }

    /// Everything but root, mounts and log.
    pub fn container(&self, ids: &UserIds) -> Result<ContainerSpec, SpecError> {
        let own = self.environment()?;
        let (container, image) = (self.container, self.image);
        let expanded = |list: &Option<Vec<String>>| -> Vec<String> {
            list.iter().flatten().map(|word| own.expand(word)).collect()
        };
        let (command, args) = (expanded(&container.command), expanded(&container.args));
        let mut line = match (command.is_empty(), args.is_empty()) {
            (true, true) => [image.entrypoint.clone(), image.cmd.clone()].concat(),
            (true, false) => [image.entrypoint.clone(), args].concat(),
            (false, _) => [command, args].concat(),
        };
        line.shrink_to_fit();
        if line.is_empty() {
            return Err(SpecError::NoCommand);
        }
        let cwd = container.working_dir.clone().filter(|dir| !dir.is_empty());
        let cwd = cwd.unwrap_or_else(|| image.working_dir.clone());
        let asks = Asks::of(container.resources.as_ref());
        let mut spec = ContainerSpec {
            name: container.name.clone(),
            args: line,
            env: self.whole_environment(own, ids),
            cwd: PathBuf::from(if cwd.is_empty() { "/".to_owned() } else { cwd }),
            tty: container.tty == Some(true),
            stdin: container.stdin == Some(true),
            limits: asks.limits(),
            oom_score_adj: resources::oom_score_adj(resources::qos(self.pod), &asks, self.facts.memory_bytes),
            termination_message_path: container
                .termination_message_path
                .clone()
                .unwrap_or_else(|| TERMINATION_MESSAGE_PATH.to_owned()),
            target: container.target_container_name.clone(),
            ..ContainerSpec::default()
        };
        security::apply(self.pod, container, ids, &mut spec)?;
        Ok(spec)
    }

    fn whole_environment(&self, own: Environment, ids: &UserIds) -> Vec<String> {
        let mut all = Environment::default();
        for pair in &self.image.env {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            all.set(name, value.to_owned());
        }
        let hostname = etc::kernel_hostname(self.pod, &self.facts.domain).unwrap_or_else(|error| error.fqdn);
        all.set("HOSTNAME", hostname);
        for pair in own.into_strings() {
            let (name, value) = pair.split_once('=').expect("an environment's strings have an equals sign");
            all.set(name, value.to_owned());
        }
        if all.get("HOME").is_none() {
            all.set("HOME", ids.home.clone());
        }
        all.into_strings()
    }

    fn claim_is_read_only(&self, volume: &str) -> bool {
        let volumes = self.pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
        let claim = volumes.iter().find(|one| one.name == volume).and_then(|one| one.persistent_volume_claim.as_ref());
        claim.and_then(|claim| claim.read_only) == Some(true)
    }

    /// The container's volume mounts; `resolve` gives the host's path for an index and a subPath.
    pub fn mounts<E>(
        &self,
        environment: &Environment,
        resolve: impl Fn(usize, &str) -> Result<PathBuf, E>,
    ) -> Result<Vec<Mount>, E> {
        let list = self.container.volume_mounts.iter().flatten().enumerate();
        list.map(|(index, mount)| {
            let sub_path = match (&mount.sub_path_expr, &mount.sub_path) {
                (Some(expression), _) => environment.expand(expression),
                (None, sub_path) => sub_path.clone().unwrap_or_default(),
            };
            let propagation = match mount.mount_propagation.as_deref() {
                Some("HostToContainer") => Propagation::HostToContainer,
                Some("Bidirectional") => Propagation::Bidirectional,
                _ => Propagation::Private,
            };
            Ok(Mount {
                host_path: resolve(index, &sub_path)?,
                container_path: Path::new("/").join(&mount.mount_path),
                recursive_read_only: is_recursively_read_only(mount),
                read_only: mount.read_only == Some(true) || self.claim_is_read_only(&mount.name),
                propagation,
            })
        })
        .collect()
    }
}
