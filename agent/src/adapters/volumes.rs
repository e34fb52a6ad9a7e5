use std::path::PathBuf;
use std::sync::Arc;

use agent_pods::ports::{PodFacts, PortError, PortResult};
use agent_volumes::{Facts, Source, VolumeError, Volumes};
use control_api::view::core::{
    ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod, Secret, ServiceAccountTokenProjection,
};

use crate::cache::Cache;
use crate::outbox::Outbox;
use crate::tokens::Tokens;

pub struct PodVolumes {
    pub volumes: Volumes,
    pub cache: Arc<Cache>,
    pub tokens: Arc<Tokens>,
    /// Hears of pods that start without a token.
    pub reporter: Arc<Outbox>,
}

impl Source for PodVolumes {
    fn config_map(&self, namespace: &str, name: &str) -> Option<ConfigMap> {
        self.cache.config_map(namespace, name)
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<Secret> {
        self.cache.secret(namespace, name)
    }

    fn token(&self, pod: &Pod, wanted: &ServiceAccountTokenProjection) -> Option<String> {
        self.tokens.get(pod, wanted)
    }

    fn claim(&self, namespace: &str, name: &str) -> Option<PersistentVolumeClaim> {
        self.cache.claim(namespace, name)
    }

    fn persistent_volume(&self, name: &str) -> Option<PersistentVolume> {
        self.cache.persistent_volume(name)
    }
}

fn told(error: VolumeError) -> PortError {
    PortError::new(error.in_words())
}

impl agent_pods::ports::Volumes for PodVolumes {
    fn mount(&self, pod: &Pod, facts: &PodFacts) -> PortResult<()> {
        let PodFacts { node_name, host_ips, pod_ips, cpu_milli, memory_bytes, .. } = facts.clone();
        let facts = Facts { node_name, host_ips, pod_ips, cpu_milli, memory_bytes };
        self.tokens.prepare(pod);
        for volume in self.volumes.mount(pod, &facts, self).map_err(told)? {
            self.tokens.tell_missing(pod, &volume, &facts.node_name, &*self.reporter);
        }
        Ok(())
    }

    fn resolve(&self, pod: &Pod, container: &str, index: usize, sub_path: &str) -> PortResult<PathBuf> {
        self.volumes.resolve(pod, container, (index, sub_path), self).map_err(told)
    }

    fn unmount(&self, uid: &str) -> PortResult<()> {
        self.tokens.forget(uid);
        self.volumes.unmount(uid).map_err(told)
    }
}
