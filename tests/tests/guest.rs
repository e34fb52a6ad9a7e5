//! What must hold on cgroup v2 too, on whatever the machine that tests has.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use tests::guest::Guest;
use tests::program::built;

/// The newest build of a test program: cargo gives it a name with a hash, and keeps older ones.
fn suite(name: &str) -> PathBuf {
    let folder = built("runtime-roles").with_file_name("deps");
    let mut found: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .flatten()
        .filter(|entry| {
            let file = entry.file_name().to_string_lossy().into_owned();
            file.strip_prefix(name).is_some_and(|rest| rest.starts_with('-') && !rest.contains('.'))
        })
        .collect();
    found.sort_by_key(|entry| entry.metadata().unwrap().modified().unwrap());
    found.last().unwrap_or_else(|| panic!("no {name} is built: run scripts/test")).path()
}

#[test]
fn containers_are_made_limited_and_isolated_on_cgroup_v2() {
    let guest = Guest::new();
    let suite = suite("containers");
    guest.install(&built("runtime-roles"));
    guest.install(&suite);
    let shown = guest.run(&format!("{} --test-threads 2", suite.display()), 170);
    assert!(shown.contains("test result: ok."), "{shown}");
    for test in ["devices_that_a_container_makes_itself_cannot_be_opened", "more_memory_than_allowed_is_an_oom_kill"] {
        assert!(shown.contains(&format!("{test} ... ok")), "{test} did not run:\n{shown}");
    }
}
