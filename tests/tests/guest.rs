//! What must hold on cgroup v2 too, on whatever the machine that tests has.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use tests::cluster::DEMO;
use tests::guest::{DATA, Guest, program_path};
use tests::isolation;
use tests::program::built;
use tests::users;

/// As far as it is written to: the file is sparse.
const DISK_BYTES: u64 = 512 << 20;

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
    let mut guest = Guest::new();
    let mount = guest.plug_file_system(DISK_BYTES, "/disk");
    let suite = suite("containers");
    guest.install(&built("runtime-roles"));
    guest.install(&suite);
    // This kernel maps owners on a disk, and not yet in the memory that the root is in.
    let in_memory = "--nocapture owners_of_what_is_mounted";
    let script =
        format!("{mount}\nTMPDIR=/disk {suite} --test-threads 2\n{suite} {in_memory}", suite = suite.display());
    let shown = guest.run(&script, 170);
    assert_eq!(shown.matches("test result: ok.").count(), 2, "{shown}");
    for test in [
        "devices_that_a_container_makes_itself_cannot_be_opened",
        "more_memory_than_allowed_is_an_oom_kill",
        "owners_of_what_is_mounted_are_inside_what_they_are_on_disk",
    ] {
        assert!(shown.contains(&format!("{test} ... ok")), "{test} did not run:\n{shown}");
    }
    assert_eq!(shown.matches("refused: this node cannot enforce").count(), 1, "{shown}");
}

#[test]
fn a_limit_is_refused_on_a_kernel_whose_memory_cgroup_is_off() {
    let mut guest = Guest::new();
    guest.append("cgroup_disable=memory");
    let suite = suite("containers");
    guest.install(&built("runtime-roles"));
    guest.install(&suite);
    let shown = guest.run(&format!("{} --nocapture a_memory_limit_holds", suite.display()), 100);
    assert!(shown.contains("test result: ok. 1 passed"), "{shown}");
    assert!(shown.contains("refused: this node cannot enforce"), "{shown}");
}

#[test]
fn a_whole_cluster_runs_a_pod_on_cgroup_v2() {
    let mut guest = Guest::node();
    let mount = guest.plug_file_system(DISK_BYTES, DATA);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("pods.yaml"), isolation::manifest()).unwrap();
    let [first, others] = users::on_disk();
    fs::write(folder.path().join("first.yaml"), first).unwrap();
    fs::write(folder.path().join("others.yaml"), others).unwrap();
    for manifest in ["pods.yaml", "first.yaml", "others.yaml"] {
        guest.copy(&folder.path().join(manifest), &format!("/{manifest}"));
    }
    let agent = built("bramble-agent");
    let looks = [isolation::looks(), users::looks_on_disk(agent.to_str().unwrap(), DATA)].concat();
    let look = |(number, (line, _)): (usize, &(String, String))| format!("echo '<{number}'; {line}; echo '>{number}'");
    let lines: Vec<_> = looks.iter().enumerate().map(look).collect();
    let shown = guest.run(
        &format!(
            r#"{mount}
            {start}
            kubectl run demo --image={DEMO} --image-pull-policy=Never
            kubectl wait --for=condition=Ready pod/demo --timeout=240s || {{ kubectl describe pod demo; tail -50 /tmp/up.log; false; }}
            kubectl apply -f /first.yaml
            kubectl wait --for=condition=Ready pod/disk --timeout=240s || {{ kubectl describe pod; false; }}
            kubectl apply -f /others.yaml -f /pods.yaml
            kubectl wait --for=condition=Ready pod/strict pod/plain pod/user --timeout=240s || {{ kubectl describe pod; false; }}
            kubectl wait --for=jsonpath={{.status.phase}}=Failed pod/hungry --timeout=240s
            await "a refusal" sh -c 'kubectl get pod token | grep CreateContainerError'
            {looks}
            ip=$(kubectl get pod demo -o 'jsonpath={{.status.podIP}}')
            printf 'GET / HTTP/1.0\r\n\r\n' | nc $ip 8080"#,
            start = Guest::start_script(),
            looks = lines.join("\n"),
        ),
        240,
    );
    assert!(shown.contains("Hello from a bramble."), "{shown}");
    for (number, (line, said)) in looks.iter().enumerate() {
        assert!(shown.contains(&format!("\n<{number}\n{said}>{number}\n")), "{line}\n{shown}");
    }
}

const SERVICE_MODULES: [&str; 10] = [
    "veth",
    "nf_tables",
    "nft_chain_nat",
    "nft_nat",
    "nft_masq",
    "nft_numgen",
    "nft_ct",
    "nft_fib_ipv4",
    "nft_reject_ipv4",
    "nf_conntrack_netlink",
];

#[test]
fn services_work_on_the_oldest_kernel_that_is_promised() {
    let guest = Guest::new();
    guest.install_modules(&SERVICE_MODULES);
    let suite = suite("proxying");
    guest.install(&suite);
    for program in ["ip", "nft"] {
        guest.install(&program_path(Path::new(program)));
    }
    // What counts lost packets by the clock is no test on an emulated processor; names of protocols are not there.
    let shown = guest.run(
        &format!(
            r#"for module in {modules}; do modprobe $module; done
            uname -r
            export PATH=/usr/bin:/usr/sbin:/bin
            {suite} --test-threads 2 --skip under_load --skip takes_over --skip reads_as"#,
            modules = SERVICE_MODULES.join(" "),
            suite = suite.display(),
        ),
        170,
    );
    assert!(shown.contains("test result: ok."), "{shown}");
    assert!(shown.contains("the_external_policy_local") && shown.contains("a_client_stays"), "{shown}");
}
