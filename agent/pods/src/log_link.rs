//! `/var/log/containers/POD_NS_CONTAINER-ID.log`, where log collectors look: links to the logs of containers.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use control_api::view::core::Pod;

/// Links a container's log. Whatever link to it is there is replaced: of a container that was lost before anybody knew of it
/// nobody knows the id.
pub fn make(folder: &Path, pod: &Pod, container: &str, id: &str, log: &Path) -> io::Result<()> {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let name = format!("{}_{}_{container}-{id}.log", text(&pod.metadata.name), text(&pod.metadata.namespace));
    fs::create_dir_all(folder)?;
    remove_where(folder, |link| fs::read_link(link).is_ok_and(|target| target == log))?;
    symlink(log, folder.join(name))
}

/// Removes the link of a container, or none.
pub fn remove(folder: &Path, id: &str) -> io::Result<()> {
    let end = format!("-{id}.log");
    remove_where(folder, |link| link.to_string_lossy().ends_with(&end))
}

/// Removes every link to a log of a pod: they lie in folders called `NAMESPACE_NAME_UID`.
pub fn remove_of_pod(folder: &Path, uid: &str) -> io::Result<()> {
    let end = format!("_{uid}");
    let is_pods = |target: &Path| target.iter().any(|part| part.to_string_lossy().ends_with(&end));
    remove_where(folder, |link| fs::read_link(link).is_ok_and(|target| is_pods(&target)))
}

fn remove_where(folder: &Path, is_meant: impl Fn(&Path) -> bool) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for link in entries.flatten().map(|entry| entry.path()).filter(|link| is_meant(link)) {
        match fs::remove_file(link) {
            // Another pod's start or end was faster.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
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

    #[test]
    fn links_of_containers_that_nobody_knows_go_with_the_next_start_or_the_pod() {
        let folder = tempfile::tempdir().unwrap();
        let count = || fs::read_dir(folder.path()).unwrap().count();
        let pod: Pod = serde_json::from_value(serde_json::json!({"metadata": {"name": "web"}})).unwrap();
        let logs = Path::new("/logs/team_web_u1/main");
        make(folder.path(), &pod, "main", "lost", &logs.join("0.log")).unwrap();
        make(folder.path(), &pod, "main", "c0", &logs.join("0.log")).unwrap();
        assert_eq!(count(), 1);
        make(folder.path(), &pod, "main", "c1", &logs.join("1.log")).unwrap();
        make(folder.path(), &pod, "main", "other", Path::new("/logs/team_web_u11/main/0.log")).unwrap();
        remove_of_pod(folder.path(), "u1").unwrap();
        assert_eq!(count(), 1);
        assert!(folder.path().join("web__main-other.log").is_symlink());
    }
}
