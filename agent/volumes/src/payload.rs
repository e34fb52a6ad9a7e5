//! The files of a configMap, secret, downwardAPI or projected volume.

use std::collections::BTreeMap;
use std::path::Path;

use control_api::view::core::{
    ConfigMap, KeyToPath, PersistentVolume, PersistentVolumeClaim, Pod, ProjectedVolumeSource, Secret,
    ServiceAccountTokenProjection, Volume, VolumeProjection,
};

use crate::downward::{self, Facts};
use crate::{atomic, sub_path};

/// Where objects come from: the node's own copies.
pub trait Source {
    fn config_map(&self, namespace: &str, name: &str) -> Option<ConfigMap>;
    fn secret(&self, namespace: &str, name: &str) -> Option<Secret>;
    fn claim(&self, namespace: &str, name: &str) -> Option<PersistentVolumeClaim>;
    fn persistent_volume(&self, name: &str) -> Option<PersistentVolume>;
    /// The token that a projection shows; `None` while there is none to be had.
    fn token(&self, pod: &Pod, wanted: &ServiceAccountTokenProjection) -> Option<String>;
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub content: Vec<u8>,
    pub mode: u32,
    /// Who owns it; root where nobody is named.
    pub owner: Option<u32>,
}

/// Files by their path inside the volume.
pub type Payload = BTreeMap<String, File>;

/// The mode of files that ask for none.
const MODE: i32 = 0o644;
/// The longest token that is read back.
const TOKEN_BYTES_MAX: u64 = 64 << 10;

/// What files are made from.
pub struct Makings<'a> {
    pub pod: &'a Pod,
    pub facts: &'a Facts,
    pub source: &'a dyn Source,
    /// The volume's own folder: a token that it shows already is better than none.
    pub folder: &'a Path,
    /// The user that all containers run as, if there is one.
    pub user: Option<u32>,
    /// The pod's fsGroup.
    pub group: Option<u32>,
}

/// The files of a volume; `None` for kinds of volume that hold none of their own.
pub fn of(volume: &Volume, makings: &Makings<'_>) -> Result<Option<Payload>, String> {
    let mut payload = Payload::new();
    if let Some(wanted) = &volume.config_map {
        let data = config_map(makings, &wanted.name, wanted.optional)?;
        let what = format!("configmap \"{}\"", wanted.name);
        pick(&mut payload, data, wanted.items.as_deref(), wanted.default_mode, wanted.optional, &what)?;
    } else if let Some(wanted) = &volume.secret {
        let name = wanted.secret_name.clone().unwrap_or_default();
        let data = secret(makings, &name, wanted.optional)?;
        let what = format!("secret \"{name}\"");
        pick(&mut payload, data, wanted.items.as_deref(), wanted.default_mode, wanted.optional, &what)?;
    } else if let Some(wanted) = &volume.downward_api {
        let items = wanted.items.as_deref().unwrap_or_default();
        downward_files(&mut payload, items, wanted.default_mode, makings)?;
    } else if let Some(wanted) = &volume.projected {
        projected(&mut payload, wanted, makings)?;
    } else {
        return Ok(None);
    }
    Ok(Some(payload))
}

fn projected(payload: &mut Payload, wanted: &ProjectedVolumeSource, makings: &Makings<'_>) -> Result<(), String> {
    for source in wanted.sources.as_deref().unwrap_or_default() {
        projection(payload, source, wanted.default_mode, makings)?;
    }
    Ok(())
}

fn projection(
    payload: &mut Payload,
    wanted: &VolumeProjection,
    mode: Option<i32>,
    makings: &Makings<'_>,
) -> Result<(), String> {
    if let Some(wanted) = &wanted.config_map {
        let data = config_map(makings, &wanted.name, wanted.optional)?;
        let what = format!("configmap \"{}\"", wanted.name);
        pick(payload, data, wanted.items.as_deref(), mode, wanted.optional, &what)?;
    } else if let Some(wanted) = &wanted.secret {
        let data = secret(makings, &wanted.name, wanted.optional)?;
        let what = format!("secret \"{}\"", wanted.name);
        pick(payload, data, wanted.items.as_deref(), mode, wanted.optional, &what)?;
    } else if let Some(wanted) = &wanted.downward_api {
        downward_files(payload, wanted.items.as_deref().unwrap_or_default(), mode, makings)?;
    } else if let Some(wanted) = &wanted.service_account_token {
        token(payload, wanted, mode, makings)?;
    } else {
        return Err("a projected source of this kind is not supported yet".to_owned());
    }
    Ok(())
}

/// Readable by the pod's one user and its group where it has them, as the kubelet does it.
fn token(
    payload: &mut Payload,
    wanted: &ServiceAccountTokenProjection,
    mode: Option<i32>,
    makings: &Makings<'_>,
) -> Result<(), String> {
    let token = makings.source.token(makings.pod, wanted).map(String::into_bytes);
    let kept = || sub_path::read(makings.folder, &Path::new(atomic::DATA).join(&wanted.path), TOKEN_BYTES_MAX);
    insert(payload, &wanted.path, token.or_else(kept).unwrap_or_default(), mode.unwrap_or(MODE))?;
    if let Some(file) = payload.get_mut(&wanted.path) {
        file.mode = match (makings.user, makings.group) {
            (_, Some(_)) => 0o640,
            (Some(_), None) => 0o600,
            (None, None) => file.mode,
        };
        file.owner = makings.user;
    }
    Ok(())
}

/// Whether the volume shows a token that is not there yet.
pub fn lacks_token(volume: &Volume, payload: &Payload) -> bool {
    let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    let mut tokens = sources.filter_map(|source| source.service_account_token.as_ref());
    tokens.any(|wanted| payload.get(&wanted.path).is_some_and(|file| file.content.is_empty()))
}

type Data = BTreeMap<String, Vec<u8>>;

fn config_map(makings: &Makings<'_>, name: &str, optional: Option<bool>) -> Result<Data, String> {
    let namespace = makings.pod.metadata.namespace.as_deref().unwrap_or_default();
    let Some(object) = makings.source.config_map(namespace, name) else {
        return missing(optional, format!("configmap \"{name}\" not found"));
    };
    let text = object.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes()));
    let binary = object.binary_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
    Ok(text.chain(binary).collect())
}

fn secret(makings: &Makings<'_>, name: &str, optional: Option<bool>) -> Result<Data, String> {
    let namespace = makings.pod.metadata.namespace.as_deref().unwrap_or_default();
    let Some(object) = makings.source.secret(namespace, name) else {
        return missing(optional, format!("secret \"{name}\" not found"));
    };
    Ok(object.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect())
}

fn missing(optional: Option<bool>, why: String) -> Result<Data, String> {
    if optional == Some(true) { Ok(Data::new()) } else { Err(why) }
}

fn pick(
    payload: &mut Payload,
    mut data: Data,
    items: Option<&[KeyToPath]>,
    mode: Option<i32>,
    optional: Option<bool>,
    what: &str,
) -> Result<(), String> {
    let mode = mode.unwrap_or(MODE);
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        for (key, content) in data {
            insert(payload, &key, content, mode)?;
        }
        return Ok(());
    };
    for item in items {
        match data.remove(&item.key) {
            Some(content) => {
                insert(payload, &item.path, content.clone(), item.mode.unwrap_or(mode))?;
                // The same key may be wanted under two names.
                data.insert(item.key.clone(), content);
            }
            None if optional == Some(true) => {}
            None => return Err(format!("{what} references non-existent config key: {}", item.key)),
        }
    }
    Ok(())
}

fn downward_files(
    payload: &mut Payload,
    items: &[control_api::view::core::DownwardAPIVolumeFile],
    mode: Option<i32>,
    makings: &Makings<'_>,
) -> Result<(), String> {
    for item in items {
        let content = downward::content(makings.pod, makings.facts, item)?;
        insert(payload, &item.path, content.into_bytes(), item.mode.or(mode).unwrap_or(MODE))?;
    }
    Ok(())
}

/// The API checks paths too; a node believes nobody about what it writes where.
fn insert(payload: &mut Payload, path: &str, content: Vec<u8>, mode: i32) -> Result<(), String> {
    let mut parts = path.split('/');
    if path.is_empty() || parts.any(|part| part.is_empty() || part == "." || part == "..") || path.starts_with("..") {
        return Err(format!("invalid path {path:?}: it must be relative and stay inside the volume"));
    }
    let mode = u32::try_from(mode).map_err(|_| format!("invalid mode {mode} for {path:?}"))? & 0o777;
    payload.insert(path.to_owned(), File { content, mode, owner: None });
    Ok(())
}
