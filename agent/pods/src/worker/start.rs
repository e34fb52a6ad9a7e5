//! Effects that bring a container up: its image, then everything from its root to its first process.

use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use control_api::view::core::Container;

use super::Context;
use crate::machine::{Event, Pulled, container};
use crate::ports::{ContainerSpec, Image, PortError, StartError, User, UserIds};
use crate::spec::Sources;
use crate::{etc, security};
use crate::{log_link, old_log};

/// Bytes of randomness in a container's id, which is their hexadecimal form.
const ID_BYTES: usize = 32;

/// Not a reason that is shown: the container is started once there is a sandbox again.
const SANDBOX_LOST: &str = "SandboxLost";

/// A start that failed: the kubelet's reason, and words.
struct Failed {
    reason: &'static str,
    message: String,
}

impl Failed {
    fn config(error: impl std::fmt::Display) -> Self {
        Self { reason: "CreateContainerConfigError", message: error.to_string() }
    }

    fn create(error: impl std::fmt::Display) -> Self {
        Self { reason: "CreateContainerError", message: error.to_string() }
    }
}

impl From<StartError> for Failed {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Create(message) => Self { reason: "CreateContainerError", message },
            StartError::Start(message) => Self { reason: "StartError", message },
            StartError::SandboxLost(message) => Self { reason: SANDBOX_LOST, message },
        }
    }
}

impl Context {
    pub(super) async fn ensure_image(&self, slot: usize, name: &str) {
        let event = match self.find_image(slot, name).await {
            Ok((image, pulled)) => Event::ImageReady { slot, image_id: image.id, pulled },
            Err((reason, message)) => Event::ImageFailed { slot, reason, message },
        };
        self.tell(event).await;
    }

    async fn find_image(&self, slot: usize, name: &str) -> Result<(Image, Option<Pulled>), (String, String)> {
        let wrong = |message: String| ("ErrImagePull".to_owned(), message);
        let container = container(&self.pod, name).ok_or_else(|| wrong("no such container".to_owned()))?;
        let image = container.image.as_deref().unwrap_or_default();
        let policy = pull_policy(container);
        if policy != "Always"
            && let Some(found) = self.ports.images.get(image).map_err(|error| wrong(error.message))?
        {
            return Ok((found, None));
        }
        if policy == "Never" {
            let message = format!("Container image \"{image}\" is not present with pull policy of Never");
            return Err(("ErrImageNeverPull".to_owned(), message));
        }
        self.tell(Event::Pulling { slot }).await;
        let begun = Instant::now();
        let pulled = self.ports.images.pull(image, self.pull_secrets()).await;
        let found = pulled.map_err(|failure| (failure.reason, failure.message))?;
        let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let size_bytes = found.size_bytes;
        Ok((found, Some(Pulled { milliseconds, size_bytes })))
    }

    /// A pull secret that is not there is passed over, as the kubelet does.
    fn pull_secrets(&self) -> Vec<Vec<u8>> {
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or("default");
        let names = self.pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten());
        let secrets = names.filter_map(|reference| self.ports.objects.secret(namespace, &reference.name));
        secrets
            .filter_map(|secret| {
                let mut data = secret.data?;
                data.remove(".dockerconfigjson").or_else(|| data.remove(".dockercfg"))
            })
            .map(|bytes| bytes.0)
            .collect()
    }

    pub(super) async fn start(&self, slot: usize, attempt: u32, name: &str) {
        let event = match self.try_start(attempt, name).await {
            Ok((container_id, user)) => Event::Started { slot, container_id, user },
            Err(failed) if failed.reason == SANDBOX_LOST => {
                tracing::warn!(uid = self.uid, error = failed.message, "the sandbox is lost");
                Event::SandboxLost { slot }
            }
            Err(failed) => Event::StartFailed { slot, reason: failed.reason.to_owned(), message: failed.message },
        };
        self.tell(event).await;
    }

    async fn try_start(&self, attempt: u32, name: &str) -> Result<(String, User), Failed> {
        let id = random_id().map_err(Failed::create)?;
        match self.start_as(&id, attempt, name).await {
            Ok(user) => Ok((id, user)),
            Err(failed) => {
                // What is half made must not stay; the failure itself is what is told.
                self.remove_container(&id).await;
                Err(failed)
            }
        }
    }

    async fn start_as(&self, id: &str, attempt: u32, name: &str) -> Result<User, Failed> {
        let container = container(&self.pod, name).ok_or_else(|| Failed::config("no such container"))?;
        let image_name = container.image.as_deref().unwrap_or_default();
        let image = self.ports.images.get(image_name).map_err(Failed::create)?;
        let image = image.ok_or_else(|| Failed::create(format!("image \"{image_name}\" is gone")))?;
        let asked = security::user(&self.pod, container, &image.user).map_err(Failed::config)?;
        // Told before anything is mounted: a missing ConfigMap costs nothing but this.
        let draft = self.describe(container, &image, &UserIds::default(), name).map_err(Failed::config)?;
        drop(draft);
        let users = self.ports.runtime.user_namespace(&self.uid).await.map_err(Failed::create)?;
        let rootfs = self.ports.images.mount(id, image_name, users).await.map_err(Failed::create)?;
        let ids = self.ports.images.resolve_user(&rootfs, &asked).map_err(Failed::create)?;
        let context = self.clone();
        let name = name.to_owned();
        let described = tokio::task::spawn_blocking(move || {
            let container = crate::machine::container(&context.pod, &name).expect("it was there a moment ago");
            context.describe_whole(container, &image, &ids, &name)
        });
        let described = described.await.map_err(|_| Failed::create("describing the container panicked"))?;
        let mut spec = described.map_err(Failed::config)?;
        spec.id = id.to_owned();
        spec.attempt = attempt;
        spec.rootfs = rootfs;
        spec.log_path = self.log_path(&spec.name, attempt);
        let (log, container, user) = (spec.log_path.clone(), spec.name.clone(), spec.user.clone());
        self.ports.runtime.create_container(&self.uid, spec).await?;
        if let Err(error) = log_link::make(&self.settings.link_root, &self.pod, &container, id, &log) {
            tracing::warn!(uid = self.uid, id, %error, "a container's log is not linked");
        }
        self.ports.runtime.start_container(&self.uid, id).await?;
        self.remove_old_logs(&log, attempt);
        Ok(user)
    }

    fn remove_old_logs(&self, log: &Path, attempt: u32) {
        let Some(folder) = log.parent() else { return };
        if let Err(error) = old_log::remove(folder, attempt) {
            tracing::warn!(uid = self.uid, %error, "old logs of a container are not removed");
        }
    }

    fn sources<'a>(&'a self, container: &'a Container, image: &'a Image) -> Sources<'a> {
        let objects = self.ports.objects.as_ref();
        Sources { pod: &self.pod, container, image, objects, facts: &self.facts }
    }

    fn describe(
        &self,
        container: &Container,
        image: &Image,
        ids: &UserIds,
        name: &str,
    ) -> Result<ContainerSpec, PortError> {
        debug_assert_eq!(container.name, name);
        self.sources(container, image).container(ids).map_err(|error| PortError::new(error.to_string()))
    }

    /// With mounts and /etc files. Blocking.
    fn describe_whole(
        &self,
        container: &Container,
        image: &Image,
        ids: &UserIds,
        name: &str,
    ) -> Result<ContainerSpec, PortError> {
        let mut spec = self.describe(container, image, ids, name)?;
        let sources = self.sources(container, image);
        let environment = sources.environment().map_err(|error| PortError::new(error.to_string()))?;
        let resolve = |index: usize, sub_path: &str| self.ports.volumes.resolve(&self.pod, name, index, sub_path);
        let asked = sources.mounts(&environment, resolve)?;
        let dir = self.settings.records.pod_dir(&self.uid).join("etc");
        let mounts = etc::apply(&self.pod, &self.facts.pod_ips, &self.settings.cluster_dns, &dir);
        let mounts = mounts.map_err(|error| PortError::new(format!("{error}: {}", error.source)))?;
        // A volume over one of the pod's own files wins.
        spec.mounts = mounts;
        spec.mounts.retain(|own| !asked.iter().any(|mount| mount.container_path == own.container_path));
        spec.mounts.extend(asked);
        Ok(spec)
    }
}

/// As defaulting has it, for pods that came past it.
fn pull_policy(container: &Container) -> &str {
    let image = container.image.as_deref().unwrap_or_default();
    let name = image.rsplit('/').next().unwrap_or(image);
    let floating = !name.contains('@') && (!name.contains(':') || name.ends_with(":latest"));
    container.image_pull_policy.as_deref().unwrap_or(if floating { "Always" } else { "IfNotPresent" })
}

fn random_id() -> std::io::Result<String> {
    let mut bytes = [0; ID_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let mut id = String::with_capacity(2 * ID_BYTES);
    for byte in bytes {
        write!(id, "{byte:02x}").expect("writing to a String cannot fail");
    }
    Ok(id)
}
