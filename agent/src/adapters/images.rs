use std::path::{Path, PathBuf};

use agent_oci::{Credentials, Images, OwnIds, PlatformsError, PullReason};
use agent_pods::ports::{BoxFuture, Image, PortError, PortResult, PullFailure, UserIds, UserNamespace};
use control_api::image::{PlatformsAnswer, PlatformsRequest};
use control_wire::PlatformsReply;

use super::told;

pub struct PodImages(pub Images);

fn image(from: agent_oci::Image) -> Image {
    Image {
        id: from.repo_digest.unwrap_or(from.id),
        name: from.name,
        size_bytes: from.size_bytes,
        entrypoint: from.config.entrypoint,
        cmd: from.config.cmd,
        env: from.config.env,
        user: from.config.user,
        working_dir: from.config.working_dir,
        stop_signal: from.config.stop_signal,
    }
}

fn credentials(image: &str, pull_secrets: &[Vec<u8>]) -> Credentials {
    let mut credentials = Credentials::none();
    for secret in pull_secrets {
        if let Err(error) = credentials.add_docker_config(secret) {
            tracing::warn!(image, error = super::chain(&error), "a pull secret cannot be read");
        }
    }
    credentials
}

/// Answers the server, which wants to know where an image can run.
pub async fn platforms(images: Images, request: PlatformsRequest, reply: PlatformsReply) {
    let PlatformsRequest { image, secrets } = request;
    let answer = match images.platforms(&image, &credentials(&image, &secrets)).await {
        Ok(platforms) => PlatformsAnswer::Known(platforms),
        Err(PlatformsError::Unknowable(message)) => PlatformsAnswer::Unknowable { message },
        Err(PlatformsError::Unreachable(message)) => PlatformsAnswer::Unreachable { message },
    };
    if let Err(error) = reply.answer(&answer).await {
        tracing::debug!(image, error = super::chain(&error), "an image's platforms did not reach the server");
    }
}

impl agent_pods::ports::Images for PodImages {
    fn get(&self, name: &str) -> PortResult<Option<Image>> {
        Ok(self.0.get(name).map_err(told)?.map(image))
    }

    fn pull(&self, name: &str, pull_secrets: Vec<Vec<u8>>) -> BoxFuture<'_, Result<Image, PullFailure>> {
        let name = name.to_owned();
        Box::pin(async move {
            let credentials = credentials(&name, &pull_secrets);
            let pulled = self.0.pull(&name, &credentials, |_| {}).await;
            pulled.map(image).map_err(|error| PullFailure {
                reason: match error.reason() {
                    PullReason::InvalidImageName => "InvalidImageName".to_owned(),
                    PullReason::ErrImagePull => "ErrImagePull".to_owned(),
                },
                message: error.message(),
            })
        })
    }

    fn mount(
        &self,
        container_id: &str,
        name: &str,
        users: Option<UserNamespace>,
    ) -> BoxFuture<'_, PortResult<PathBuf>> {
        let (id, name) = (container_id.to_owned(), name.to_owned());
        Box::pin(async move {
            let found = self.0.get(&name).map_err(told)?;
            let found = found.ok_or_else(|| PortError::new(format!("image \"{name}\" is gone")))?;
            let ids = users.map(|users| OwnIds {
                first_id: users.first_id,
                mount_layer: Box::new(move |layer, at| agent_runtime::mount_layer(&users.path, layer, at)),
            });
            self.0.snapshots().mount(&id, &found, ids).await.map_err(told)
        })
    }

    fn unmount(&self, container_id: &str) -> BoxFuture<'_, PortResult<()>> {
        let id = container_id.to_owned();
        Box::pin(async move { self.0.snapshots().remove(&id).await.map_err(told) })
    }

    fn resolve_user(&self, rootfs: &Path, user: &str) -> PortResult<UserIds> {
        let ids = agent_oci::resolve_user(rootfs, user).map_err(told)?;
        Ok(UserIds { uid: ids.uid, gid: ids.gid, additional_gids: ids.additional_gids, home: ids.home })
    }
}
