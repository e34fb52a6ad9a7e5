//! A card's settings and first boot.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::guest::machine::GuestMachine;
use tests::guest::{Guest, NODE_MODULES};
use tests::lab::Lab;
use tests::lab::lan::Lan;
use tests::program::{Said, built, eventually};

fn card(root: &Path, verb: &str) {
    Said::by(Command::new(built("bramble-agent")).args(["card", verb, "--root"]).arg(root)).ok();
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_cards_settings_are_applied_explained_where_wrong_and_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let settings = root.join("boot/firmware/bramble.toml");
    let error = root.join("boot/firmware/bramble-error.txt");
    fs::create_dir_all(settings.parent().unwrap()).unwrap();
    // Nothing is said: it waits to be let in, by a name of its own that it keeps.
    fs::write(&settings, "").unwrap();
    card(root, "apply");
    let name = read(&root.join("etc/hostname"));
    assert!(name.starts_with("bramble-") && name.trim().len() == 12, "{name}");
    assert_eq!(read(&root.join("run/bramble/role")), "auto\n");
    card(root, "apply");
    assert_eq!(read(&root.join("etc/hostname")), name);
    // A good file.
    fs::write(&settings, "role = \"server\"\r\nhostname = \"pi-4\"\r\n[server]\r\nnames = [\"pi.lan\"]\r\n").unwrap();
    card(root, "apply");
    assert_eq!(read(&root.join("etc/hostname")), "pi-4\n");
    assert_eq!(read(&root.join("run/bramble/server.yaml")), "{\"names\":[\"pi.lan\"]}\n");
    assert_eq!(fs::read_link(root.join("etc/bramble/server.yaml")).unwrap(), Path::new("/run/bramble/server.yaml"));
    // A broken one is explained, and what was good before still holds; the same where the file or the whole partition is gone.
    for broken in [Some("role = server\n"), Some("[agent]\nmetrisc = \"off\"\n"), None] {
        match broken {
            Some(text) => fs::write(&settings, text).unwrap(),
            None => fs::remove_file(&settings).unwrap(),
        }
        card(root, "apply");
        assert_eq!(read(&root.join("run/bramble/role")), "server\n");
        let told = read(&error);
        let words = match broken {
            Some(text) if text.starts_with("role") => "line 1: the value must be in quotes: role = \"server\"\r\n",
            Some(_) => "[agent]: unknown field `metrisc`",
            None => "there is no file bramble.toml here",
        };
        assert!(told.contains(words), "{told}");
    }
    fs::write(&settings, "role = \"agent\"\nhostname = \"pi-5\"\n").unwrap();
    card(root, "apply");
    assert!(!error.exists() && !root.join("run/bramble/server.yaml").exists());
    assert_eq!(read(&root.join("etc/hostname")), "pi-5\n");
    let key = fs::metadata(root.join("var/lib/bramble/agent/node.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}

/// A FAT image as a builder of cards leaves it, with room for the kernel and what else lies there.
fn fat(path: &Path, settings: &str) {
    fs::File::create(path).unwrap().set_len(4 << 20).unwrap();
    Said::by(Command::new("mkfs.vfat").args(["-n", "BRAMBLE"]).arg(path)).ok();
    let file = path.with_file_name("bramble.toml");
    fs::write(&file, settings).unwrap();
    Said::by(Command::new("mcopy").arg("-i").arg(path).arg(&file).arg("::bramble.toml")).ok();
}

const CARD_MODULES: [&str; 5] = ["loop", "vfat", "nls_cp437", "nls_ascii", "nls_iso8859-1"];

/// What systemd does with the units on a card, up to the agent.
const BOOT: &str = "mkdir -p /boot/firmware && modprobe loop && losetup /dev/loop0 /card.img && mount -t vfat -o ro /dev/loop0 /boot/firmware";

/// On a machine whose clock stands at 1970, from a card whose token names an address that nobody has any more.
#[test]
fn a_card_joins_by_itself_takes_the_servers_time_and_loses_its_token() {
    let lab = Lab::prepare("");
    let token = lab.token(&["--card", "--address", "192.168.78.250"]);
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("card.img");
    fat(&image, &format!("# mine\r\nrole = \"agent\"\r\nhostname = \"g1\"\r\njoin = \"{token}\"\r\n"));
    let guest = Guest::new();
    guest.install(&built("bramble-agent"));
    guest.copy(&image, "/card.img");
    let mut machine =
        GuestMachine::boot(guest, &lab.lan, "g1", "192.168.78.21", &[&NODE_MODULES[..], &CARD_MODULES].concat());
    machine.sh(&format!("{BOOT} && date -s 1970-01-01")).ok();
    machine.agent("card apply").ok();
    machine.start(&format!("{} card console", built("bramble-agent").display()));
    // The clock is no longer before the build, nor yet right.
    let year = machine.sh("date +%Y").out;
    assert!(year.trim().parse::<u32>().unwrap() >= 2026, "{year}");
    machine.sh("date -s 2026-11-02").ok();
    assert_eq!(machine.sh("stat -c %a /var/lib/bramble/join /var/lib/bramble/agent/node.key").out, "600\n600\n");
    machine.agent("card wipe").ok();
    assert!(machine.sh("cat /boot/firmware/bramble.toml").out.contains(&token), "nothing is wiped before the join");
    machine.start_agent("--config /etc/bramble/agent.yaml");
    lab.wait_ready(1);
    let mut off = String::new();
    eventually("the node has the server's time", 30, || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        off = machine.sh("date +%s").out;
        off.trim().parse::<u64>().unwrap().abs_diff(now) < 15
    });
    machine.agent("card wipe").ok();
    let wiped = machine.sh("cat /boot/firmware/bramble.toml").out;
    assert!(wiped.starts_with("# mine\r\nrole = \"agent\"\r\nhostname = \"g1\"\r\n# joined cluster "), "{wiped}");
    assert!(!wiped.contains("bramble1."), "{wiped}");
    machine.sh("! grep -c bramble1. /card.img && [ ! -e /var/lib/bramble/join ]").ok();
    machine.sh("grep ' /boot/firmware vfat ro,' /proc/mounts").ok();
    let state = machine.sh("cat /run/bramble/agent.state").out;
    assert!(state.contains("\"phase\":\"connected\""), "{state}");
    eventually("the console says so", 30, || machine.console().contains("state         joined: it takes pods\n"));
    // The token let one machine in, and lets in no other; a card with it waits, and says why.
    let end = "pid=$(cat /var/lib/bramble/agent.pid); kill $pid; while [ -d /proc/$pid ]; do sleep 0.1; done";
    machine.sh(&format!("{end}; rm -r /var/lib/bramble/agent")).ok();
    rewrite(&mut machine, &token);
    machine.agent("card apply").ok();
    machine.start_agent("--config /etc/bramble/agent.yaml");
    eventually("it waits and says why", 60, || {
        let state = machine.sh("cat /run/bramble/agent.state").out;
        state.contains("\"phase\":\"waiting\"") && state.contains("used up")
    });
    eventually("the console says how to let it in", 30, || {
        let console = machine.console();
        console.contains("state         waits to be let in\n") && console.contains("\n  bramble node approve g1 ")
    });
    assert!(lab.bramble(&["node", "list"]).out.contains("g1"));
}

/// Writes the settings anew, as a person would on another computer.
fn rewrite(machine: &mut GuestMachine, token: &str) {
    machine.sh("umount /boot/firmware && mount -t vfat /dev/loop0 /boot/firmware").ok();
    machine.sh(&format!("echo 'join = \"{token}\"' >/boot/firmware/bramble.toml")).ok();
    machine.sh("umount /boot/firmware && mount -t vfat -o ro /dev/loop0 /boot/firmware").ok();
}

/// A server's card, whose screen is a serial line here.
#[test]
fn a_servers_card_shows_the_line_by_which_others_join_and_keeps_it_over_a_restart() {
    let lan = Lan::create();
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("card.img");
    fat(
        &image,
        "role = \"server\"\r\nhostname = \"pi-1\"\r\n[wifi]\r\nssid = \"home\"\r\npassword = \"secret99\"\r\nidentity = \"me\"\r\n",
    );
    let guest = Guest::new();
    for program in ["bramble", "bramble-agent"] {
        guest.install(&built(program));
    }
    guest.copy(&image, "/card.img");
    let mut machine = GuestMachine::boot(guest, &lan, "pi-1", "192.168.78.31", &CARD_MODULES);
    machine.sh(BOOT).ok();
    machine.sh(&format!("ln -s {} {} /bin/", built("bramble").display(), built("bramble-agent").display())).ok();
    machine.sh("bramble-agent card apply").ok();
    machine.start("bramble-agent card console");
    eventually("the console says that the settings are wrong", 30, || {
        machine.console().contains("bramble.toml is wrong")
    });
    machine
        .sh("cat /boot/firmware/bramble-error.txt")
        .shows("line 6: identity is no setting of [wifi]: networks that ask for a user name");
    machine.sh("grep ' /boot/firmware vfat ro,' /proc/mounts").ok();
    // Mended, as by somebody who took the card out.
    machine.sh("umount /boot/firmware && mount -t vfat /dev/loop0 /boot/firmware && sed -i /wifi/,\\$d /boot/firmware/bramble.toml && umount /boot/firmware && mount -t vfat -o ro /dev/loop0 /boot/firmware").ok();
    machine.sh("bramble-agent card apply && [ ! -e /boot/firmware/bramble-error.txt ]").ok();
    machine.start("bramble server --config /etc/bramble/server.yaml --admit-own-agent");
    eventually("the server is ready", 60, || machine.sh("grep -q . /var/lib/bramble/kubeconfig").code == 0);
    let unit = read(&repository().join("images/units/bramble-join-line.service"));
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let show = |machine: &mut GuestMachine| {
        machine.sh(&format!("rm -f /run/bramble/join-line; umask 077; {line}")).ok();
        machine.sh("stat -c %a /var/lib/bramble/card/join-line /run/bramble/join-line").shows("600\n600\n");
        machine.sh("cat /run/bramble/join-line").ok().trim().to_owned()
    };
    let token = show(&mut machine);
    let wanted = format!("\n  bramble-agent --join {token}\n");
    eventually("the console shows the join line", 30, || machine.console().contains(&wanted));
    let console = machine.console();
    let last = console.rsplit("--- Bramble ---").next().unwrap();
    for words in ["name          pi-1\n", "address       192.168.78.31\n", "This machine is the server of its cluster."]
    {
        assert!(last.contains(words), "{words}\n{last}");
    }
    assert!(!last.contains("bramble.toml is wrong"), "{last}");
    assert_eq!(show(&mut machine), token, "a restart keeps it");
    // The other one is the own agent's.
    let list = machine.sh("bramble token list").ok().to_owned();
    let id = list.lines().find(|line| line.ends_with("/16")).unwrap().split(' ').next().unwrap();
    machine.sh(&format!("bramble token revoke {id}")).ok();
    assert_ne!(show(&mut machine), token, "what lets nobody in is not shown any more");
}
