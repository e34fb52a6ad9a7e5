//! `/var/log/containers/POD_NS_CONTAINER-ID.log`, where log collectors look: links to the logs of containers.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use control_api::view::core::Pod;

/// Links a container's log; a link that is there already is replaced.
pub fn make(folder: &Path, pod: &Pod, container: &str, id: &str, log: &Path) -> io::Result<()> {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let name = format!("{}_{}_{container}-{id}.log", text(&pod.metadata.name), text(&pod.metadata.namespace));
    fs::create_dir_all(folder)?;
    let link = folder.join(name);
    match fs::remove_file(&link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(log, link)
}

/// Removes the link of a container, or none.
pub fn remove(folder: &Path, id: &str) -> io::Result<()> {
    let end = format!("-{id}.log");
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().ends_with(&end) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_names_pod_namespace_container_and_id() {
        let folder = tempfile::tempdir().unwrap();
        let links = folder.path().join("containers");
        let pod: Pod =
            serde_json::from_value(serde_json::json!({"metadata": {"name": "web", "namespace": "team"}})).unwrap();
        remove(&links, "c0").unwrap();
        for _ in 0..2 {
            make(&links, &pod, "main", "c0", Path::new("/logs/0.log")).unwrap();
        }
        make(&links, &pod, "main", "c1", Path::new("/logs/1.log")).unwrap();
        let target = fs::read_link(links.join("web_team_main-c0.log")).unwrap();
        assert_eq!(target, Path::new("/logs/0.log"));
        remove(&links, "c0").unwrap();
        assert_eq!(fs::read_dir(&links).unwrap().count(), 1);
    }
}
