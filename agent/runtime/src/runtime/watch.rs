//! Following a shim: ends of its containers become events, and its own end becomes theirs.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{Runtime, lock, record, sandbox, shim_client, teardown};
use crate::layout::{load, save};
use crate::protocol::{Request, Response, body_length, decode, encode};
use crate::status::{ContainerState, Exit, Exited};

impl Runtime {
    /// Follows a pod's shim until it or the sandbox is gone. Once only.
    pub(super) fn follow(&self, uid: &str) {
        if !lock(&self.inner.followed).insert(uid.to_owned()) {
            return;
        }
        let (runtime, uid) = (self.clone(), uid.to_owned());
        tokio::spawn(async move {
            // A shim cuts off who reads too slowly: then everything is told again, and known ends are skipped.
            while runtime.read_ends(&uid).await.is_ok() {}
            lock(&runtime.inner.followed).remove(&uid);
            if !lock(&runtime.inner.removing).contains(&uid) {
                runtime.settle_lost(&uid).await;
            }
        });
    }

    /// Ok when the stream ended after it had worked, an error when the shim is not there.
    async fn read_ends(&self, uid: &str) -> io::Result<()> {
        let mut stream = UnixStream::connect(self.inner.dir(uid).socket()).await?;
        stream.write_all(&encode(&Request::Follow)?).await?;
        loop {
            let mut head = [0; 5];
            if stream.read_exact(&mut head).await.is_err() {
                return Ok(());
            }
            let mut body = vec![0; body_length(head)?];
            stream.read_exact(&mut body).await?;
            if let Response::Ended { container, exit } = decode(&body)? {
                self.tell(uid, &container, exit).await;
            }
        }
    }

    pub(super) async fn tell(&self, uid: &str, container: &str, exit: Exit) {
        let key = (uid.to_owned(), container.to_owned());
        if lock(&self.inner.told).insert(key, exit.clone()).is_some() {
            return;
        }
        self.inner.ended.notify_waiters();
        let event = Exited { pod_uid: uid.to_owned(), container_id: container.to_owned(), exit };
        // Fails when nobody listens any more.
        let _ = self.inner.events.send(event).await;
    }

    /// The shim is gone while its sandbox is not: its containers have lost their log and their parent. They are
    /// ended, and told as lost.
    async fn settle_lost(&self, uid: &str) {
        let pod = uid.to_owned();
        let lost = self
            .blocking("settle a lost shim", move |inner| {
                let door = inner.door(&pod);
                let _one_at_a_time = lock(&door);
                let record = record::read(inner, &pod)?;
                if shim_client::connect(inner, &pod).is_ok() {
                    // It has been replaced, and its successor tells what it found.
                    return Ok(None);
                }
                sandbox::reap_shim(inner, &pod);
                let dir = inner.dir(&pod);
                let _ = teardown::kill(inner, &dir, &record.cgroup);
                let mut lost = Vec::new();
                for entry in std::fs::read_dir(dir.containers()).into_iter().flatten().flatten() {
                    let id = entry.file_name().to_string_lossy().into_owned();
                    let path = dir.container(&id).state();
                    let Ok(state) = load::<ContainerState>(&path) else { continue };
                    if let ContainerState::Exited(exit) = state.without_shim() {
                        let _ = save(&path, &ContainerState::Exited(exit.clone()));
                        lost.push((id, exit));
                    }
                }
                Ok(Some(lost))
            })
            .await;
        match lost {
            Ok(None) => self.follow(uid),
            Ok(Some(lost)) => {
                for (id, exit) in lost {
                    self.tell(uid, &id, exit).await;
                }
            }
            // Its record is gone, and so is its pod.
            Err(_) => {}
        }
    }
}
