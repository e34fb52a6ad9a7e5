use std::path::PathBuf;
use std::sync::Arc;

use agent_pods::ports::{PodFacts, PortError, PortResult};
use agent_volumes::{Facts, Source, VolumeError, Volumes};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};

use crate::cache::Cache;

pub struct PodVolumes {
    pub volumes: Volumes,
    pub cache: Arc<Cache>,
}

struct Cached<'a>(&'a Cache);

impl Source for Cached<'_> {
    fn config_map(&self, namespace: &str, name: &str) -> Option<ConfigMap> {
        self.0.config_map(namespace, name)
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<Secret> {
        self.0.secret(namespace, name)
    }
}

fn told(error: VolumeError) -> PortError {
    PortError::new(error.in_words())
}

impl agent_pods::ports::Volumes for PodVolumes {
    fn mount(&self, pod: &Pod, facts: &PodFacts) -> PortResult<()> {
        let PodFacts { node_name, host_ips, pod_ips, cpu_milli, memory_bytes } = facts.clone();
        let facts = Facts { node_name, host_ips, pod_ips, cpu_milli, memory_bytes };
        self.volumes.mount(pod, &facts, &Cached(&self.cache)).map_err(told)
    }

    fn resolve(&self, pod: &Pod, container: &str, index: usize, sub_path: &str) -> PortResult<PathBuf> {
        self.volumes.resolve(pod, container, index, sub_path).map_err(told)
    }

    fn unmount(&self, uid: &str) -> PortResult<()> {
        self.volumes.unmount(uid).map_err(told)
    }
}
