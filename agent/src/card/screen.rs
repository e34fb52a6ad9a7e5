//! What a person who stands before the machine is told. Pure.

use std::fmt::Write;
use std::net::IpAddr;

use crate::state::{Phase, State};

/// All that is shown.
#[derive(Debug, Default)]
pub struct View {
    pub hostname: String,
    pub addresses: Vec<IpAddr>,
    pub is_server: bool,
    /// None until the agent has said something.
    pub agent: Option<State>,
    /// A token by which others join this server's cluster.
    pub join: Option<String>,
    /// Whether bramble.toml is wrong.
    pub has_error: bool,
}

pub fn render(view: &View) -> String {
    let mut text = String::from("\n--- Bramble ---------------------------------------------------------\n");
    row(&mut text, "name", &view.hostname);
    let addresses: Vec<String> = view.addresses.iter().map(ToString::to_string).collect();
    let none = "none yet: is the cable in, or the wifi's name and password right?".to_owned();
    row(&mut text, "address", &if addresses.is_empty() { none } else { addresses.join(", ") });
    if let Some(cluster) = view.agent.as_ref().and_then(|agent| agent.cluster.as_deref()) {
        row(&mut text, "cluster", cluster);
    }
    agent(&mut text, view);
    if view.is_server {
        server(&mut text, view);
    }
    if view.has_error {
        text.push_str("\nbramble.toml is wrong: bramble-error.txt beside it on the card says what to mend.\n");
    }
    text.push_str("---------------------------------------------------------------------\n");
    text
}

fn row(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "{name:<14}{value}");
}

fn agent(text: &mut String, view: &View) {
    let Some(agent) = &view.agent else {
        row(text, "state", "starting");
        return;
    };
    let state = match agent.phase {
        Phase::Starting => "starting",
        Phase::Joining => "asks the cluster to let it in by its token",
        Phase::Waiting => "waits to be let in",
        Phase::Connecting => "in the cluster, and looks for its server",
        Phase::Connected => "joined: it takes pods",
    };
    row(text, "state", state);
    if let Some(problem) = &agent.problem {
        row(text, "why", problem);
    }
    if agent.phase == Phase::Waiting {
        row(text, "fingerprint", &agent.fingerprint);
        let (node, own) = (&agent.node, &agent.fingerprint);
        if agent.cluster.is_some() {
            let _ = write!(text, "\nTo let it in, on the server:\n\n  bramble node approve {node} {own}\n");
        }
    }
}

fn server(text: &mut String, view: &View) {
    text.push_str("\nThis machine is the server of its cluster.\n");
    if let Some(address) = view.addresses.first() {
        let _ = writeln!(text, "kubectl needs /var/lib/bramble/kubeconfig of it, with {address} for 127.0.0.1.");
    }
    match &view.join {
        Some(token) => {
            let _ = write!(
                text,
                "Another machine joins by this line, which holds for a day at most:\n\n  bramble-agent --join {token}\n\n\
                 or without a token: it finds this server, and `bramble node approve` lets it in.\n"
            );
        }
        None => text.push_str("How others join is said here once it runs.\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_network_says_what_to_look_at() {
        let text = render(&View { hostname: "pi-4".to_owned(), ..View::default() });
        assert!(text.contains("name          pi-4\n") && text.contains("is the cable in"), "{text}");
        assert!(text.contains("state         starting\n"), "{text}");
    }

    #[test]
    fn a_waiting_machine_shows_its_fingerprint_and_the_command_that_lets_it_in() {
        let agent = State {
            phase: Phase::Waiting,
            node: "pi-4".to_owned(),
            fingerprint: "0f1e-2d3c-4b5a".to_owned(),
            cluster: Some("c0ffee".to_owned()),
            problem: Some("join token has expired".to_owned()),
        };
        let addresses = vec!["192.168.1.5".parse().expect("an address")];
        let text = render(&View { addresses, agent: Some(agent), has_error: true, ..View::default() });
        for words in [
            "address       192.168.1.5\n",
            "why           join token has expired\n",
            "\n  bramble node approve pi-4 0f1e-2d3c-4b5a\n",
            "bramble.toml is wrong",
        ] {
            assert!(text.contains(words), "{words}\n{text}");
        }
    }

    #[test]
    fn a_server_shows_its_join_line() {
        let join = Some("bramble1.abc".to_owned());
        let text = render(&View { is_server: true, join, ..View::default() });
        assert!(text.contains("\n  bramble-agent --join bramble1.abc\n"), "{text}");
    }
}
