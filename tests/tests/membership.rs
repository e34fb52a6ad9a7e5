//! Nodes join with one line or none, and stay joined, on machines of their own.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use tests::lab::Lab;
use tests::program::eventually;

/// The fingerprint on a waiting machine's console.
fn console(lab: &Lab, index: usize) -> Option<String> {
    let name = &lab.nodes[index].name;
    let log = lab.nodes[index].log();
    let rest = log.split(&format!("bramble node approve {name} ")).nth(1)?;
    rest.split_whitespace().next().map(str::to_owned)
}

#[test]
fn an_agent_whose_token_is_no_good_ends_and_says_why() {
    let mut lab = Lab::prepare("");
    lab.add_machine("n1", "192.168.78.11");
    let join = |lab: &Lab, token: &str| lab.nodes[0].agent(&["--node-name", "n1", "--join", token]);

    let (one, other) = (lab.token(&[]), lab.token(&[]));
    let (head, tail) = (&one[..one.len() - 40], &other[other.len() - 40..]);
    join(&lab, &format!("{head}{tail}")).fails("join token is forged");
    join(&lab, &one[..one.len() - 10]).fails("join token is damaged");
    let listed = lab.bramble(&["token", "list"]).ok().to_owned();
    for id in listed.lines().skip(1).filter_map(|line| line.split_whitespace().next()) {
        lab.bramble(&["token", "revoke", id]).ok();
    }
    join(&lab, &one).fails("join token was revoked");
    let short = lab.token(&["--ttl", "1s"]);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    join(&lab, &short).fails("join token has expired");

    let once = lab.token(&["--uses", "1"]);
    lab.nodes[0].start_agent(&["--join", &once]);
    lab.wait_ready(1);
    lab.add_machine("n2", "192.168.78.12");
    lab.nodes[1].agent(&["--node-name", "n2", "--join", &once]).fails("join token is used up");
}

#[test]
fn a_token_left_in_the_data_folder_lets_the_node_in_and_is_gone_then() {
    let mut lab = Lab::prepare("");
    let token = lab.token(&[]);
    let machine = lab.add_machine("n1", "192.168.78.11");
    let file = machine.data().join("join");
    std::fs::create_dir_all(machine.data()).unwrap();
    std::fs::write(&file, "bramble:nonsense\n").unwrap();
    machine.agent(&["--node-name", "n1"]).fails("cannot be read");
    std::fs::write(&file, format!("{token}\n")).unwrap();
    machine.start_agent(&[]);
    lab.wait_ready(1);
    assert!(!file.exists());
}

#[test]
fn machines_without_a_token_find_the_cluster_or_are_told_of_it_and_wait_for_their_approval() {
    let mut lab = Lab::prepare("");
    lab.add_machine("n1", "192.168.78.11").start_agent(&["--server", "192.168.78.1:6443"]);
    lab.add_machine("n2", "192.168.78.12").start_agent(&[]);
    for index in 0..2 {
        eventually("the console shows what to do", 30, || console(&lab, index).is_some());
    }
    let list = lab.bramble(&["node", "list"]).ok().to_owned();
    assert_eq!(list.matches("Pending").count(), 2, "{list}");
    assert!(lab.k("get nodes -o name").ok().is_empty());
    lab.bramble(&["node", "approve", "n1", "0123-4567-89ab"]).fails("only if its console shows that one too");
    for (index, name) in ["n1", "n2"].into_iter().enumerate() {
        lab.bramble(&["node", "approve", name, &console(&lab, index).unwrap()]).ok();
    }
    lab.wait_ready(2);
    lab.bramble(&["status"]).shows("Nothing is wrong.");
    lab.bramble(&["node", "approve", "n1"]).fails("no machine named n1 waits");
}

#[test]
fn a_node_keeps_its_session_while_its_address_changes_and_finds_a_server_that_moved() {
    let mut lab = Lab::start(1);
    let connected = |lab: &Lab| lab.log().matches("node connected").count();
    let address = |lab: &Lab| lab.field("node n1", "{.status.addresses[?(@.type==\"InternalIP\")].address}");
    // No Node is Ready before its session serves.
    assert_eq!((connected(&lab), address(&lab).as_str()), (1, "192.168.78.11"));
    lab.nodes[0].move_to("192.168.78.55");
    eventually("the Node has the new address", 30, || address(&lab) == "192.168.78.55");
    assert_eq!(connected(&lab), 1, "by the same session");

    lab.move_server("192.168.78.7");
    eventually("the node finds the server", 60, || connected(&lab) == 2);
    eventually("the API's endpoint follows", 30, || {
        lab.field("endpoints kubernetes", "{.subsets[0].addresses[0].ip}") == "192.168.78.7"
    });
    lab.kubectl(&["--server=https://192.168.78.7:6443", "get", "--raw", "/readyz"]).shows("ok");
}

#[test]
fn a_node_that_was_removed_stays_out_until_it_has_a_new_key() {
    let mut lab = Lab::start(2);
    lab.k(&format!("create deployment web --image={} --replicas=4", tests::lab::DEMO)).ok();
    lab.k("rollout status deployment/web --timeout=60s").ok();
    lab.bramble(&["node", "drain", "n1"]).shows("node/n1 is drained");
    assert!(lab.k("get pods --field-selector=spec.nodeName=n1 -o name").ok().is_empty());
    lab.bramble(&["node", "remove", "n1"]).shows("its key is refused from now on");
    eventually("the agent says what happened", 30, || {
        lab.nodes[0].log().contains("this node was removed from the cluster")
    });
    assert_eq!(lab.k("get nodes -o name").ok().trim(), "node/n2");
    lab.stop_server(nix::sys::signal::Signal::SIGKILL);
    lab.start_server();
    lab.wait_server();
    lab.nodes[0].stop_agent(nix::sys::signal::Signal::SIGTERM);
    let token = lab.token(&[]);
    lab.nodes[0].agent(&["reset"]).ok();
    lab.nodes[0].start_agent(&["--join", &token]);
    lab.wait_ready(2);
}

#[test]
fn certificates_are_renewed_before_they_end_while_everything_runs() {
    let lab = Lab::with_nodes(&["192.168.78.11"], "certificateLifetimes: {node: 30s, server: 30s}\n");
    eventually("the node's certificate is renewed", 60, || lab.nodes[0].log().contains("certificate was renewed"));
    eventually("the administrator's too", 60, || lab.log().contains("the administrator's certificate was renewed"));
    let first = std::time::Instant::now();
    eventually("the first ones have ended", 60, || first.elapsed().as_secs() > 30);
    lab.k("get nodes").ok();
    lab.wait_ready(1);
    assert_eq!(lab.log().matches("node connected").count(), 1, "a renewal ends no session");
}
