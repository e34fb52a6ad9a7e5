//! What people write into `bramble.toml`, and what they are told.
#![allow(clippy::unwrap_used)]

use control_card::{Network, Role, Secret, Settings, Wifi, holds_token, parse, render, wipe};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5L0bGvZ0bGvZ0bGvZ0bGvZ0bGvZ0bGvZ0bGvZ0bGvZ me@laptop";

fn token() -> String {
    format!("bramble1.{}", "Ab3_-".repeat(50))
}

fn problems(text: impl AsRef<[u8]>) -> String {
    parse(text.as_ref()).unwrap_err().to_string()
}

fn everything() -> Settings {
    Settings {
        role: Role::Agent,
        hostname: Some("pi-4".to_owned()),
        join: Some(Secret(token())),
        server: Some("192.168.1.4:6443".to_owned()),
        wifi: Some(Wifi {
            ssid: "Café \"am\" Eck".to_owned(),
            password: Some(Secret("back\\slash\" and 'quote'".to_owned())),
            country: Some("DE".to_owned()),
        }),
        authorized_keys: vec![KEY.to_owned()],
        network: Some(Network {
            address: "192.168.1.5".parse().unwrap(),
            prefix: 24,
            gateway: Some("192.168.1.1".parse().unwrap()),
            dns: vec!["192.168.1.1".parse().unwrap(), "fd00::1".parse().unwrap()],
        }),
        agent: Map::from_iter([
            ("metrics".to_owned(), json!("off")),
            ("registries".to_owned(), json!({"mirrors": {"docker.io": ["http://10.0.0.1:5000"]}, "n": [1, 2.5, true]})),
        ]),
        server_settings: Map::new(),
    }
}

#[test]
fn what_is_rendered_is_read_again() {
    assert_eq!(parse(render(&everything()).as_bytes()), Ok(everything()));
    assert_eq!(parse(render(&Settings::default()).as_bytes()), Ok(Settings::default()));
    let server = Settings {
        role: Role::Server,
        server_settings: Map::from_iter([("listen".to_owned(), json!("0.0.0.0:7443"))]),
        ..Settings::default()
    };
    assert_eq!(parse(render(&server).as_bytes()), Ok(server));
}

#[test]
fn a_file_of_a_windows_editor_is_read() {
    let text = format!("\u{feff}{}", render(&everything()).replace('\n', "\r\n"));
    assert_eq!(parse(text.as_bytes()), Ok(everything()));
    assert_eq!(parse(b""), Ok(Settings::default()));
    let loose = parse(b"Role = 1\r\n").unwrap_err().to_string();
    assert_eq!(loose, "line 1: Role is no setting: did you mean role?");
    let settings = parse(b"hostname\t=\t\"PI-4\"\r\nserver = 'fd00::1'\r\njoin = \"\"\r\n").unwrap();
    assert_eq!((settings.hostname.unwrap().as_str(), settings.server.unwrap().as_str()), ("pi-4", "[fd00::1]:6443"));
    let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain("role".encode_utf16().flat_map(u16::to_le_bytes)).collect();
    assert!(problems(utf16).contains("UTF-16"));
    assert!(problems(b"\n\nhostname = \"caf\xe9\"\n").starts_with("line 3: there is a letter in another encoding"));
    assert!(problems([0; 512]).contains("damaged"));
    assert!(problems(b"{\\rtf1\\ansi").contains("word processor"));
    assert!(problems(vec![b'#'; 70_000]).contains("larger than 64 KiB"));
}

#[test]
fn broken_lines_are_explained_in_plain_words() {
    for (text, words) in [
        ("role = agent\n", "line 1: the value must be in quotes: role = \"agent\""),
        ("\nhostname = pi-4 # mine\n", "line 2: the value must be in quotes: hostname = \"pi-4\""),
        (
            "hostname = “pi-4”\n",
            "line 1: the quotes are curly (“): type straight ones (\") instead, in a plain text editor",
        ),
        ("hostname = \"pi-4\n[wifi]\n", "line 1: the closing quote (\") of hostname is missing, at the line's end"),
        (
            "hostname = \"pi-4”\n",
            "line 1: the quotes are curly (”): type straight ones (\") instead, in a plain text editor",
        ),
        ("hostname: \"pi-4\"\n", "line 1: write = instead of the colon: hostname = \"...\""),
        ("hostname =\n", "line 1: hostname has no value: hostname = \"...\""),
        ("[wifi\nssid = \"a\"\n", "line 1: the closing bracket is missing: [wifi]"),
        (
            "hostname\u{a0}= \"pi\"\n",
            "line 1: there is a space that is none (of a word processor or a web page): type the line anew",
        ),
        ("hostname = \"a\"\nhostname = \"b\"\n", "line 2: hostname is given twice: keep one of the lines"),
        (
            "[wifi]\nssid = \"a\"\npassword = \"pass\\word1\"\n",
            "line 3: in password, write each backslash twice (\\\\), or take single quotes: password = '...'",
        ),
        (
            "[wifi]\nssid = \"a\"\npassword = secret99\n",
            "line 3: the value of password must be in quotes: password = \"...\"",
        ),
        (
            "please join my cluster\n",
            "line 1: this line is not understood: a line is NAME = \"VALUE\", a [section], or begins with #",
        ),
        (
            "[ssh]\nauthorized_keys = [\nssh-ed25519 AAAA me\n]\n",
            "line 3: each key goes between quotes and is followed by a comma: \"ssh-ed25519 AAAA... me@laptop\",",
        ),
    ] {
        let said = problems(text);
        assert_eq!(said.split("; line").next().unwrap(), words, "{text}");
    }
}

#[test]
fn values_that_cannot_be_are_all_told_at_once_with_their_lines() {
    let said = problems(
        "role = \"boss\"\nhostname = \"my_pi\"\njoin = \"K10abc\"\nserver = \"http://pi\"\nfoo = 1\n\
         [wifi]\nssid = \"a\"\npassword = \"short\"\ncountry = \"Germany\"\nhostname = \"x\"\n\
         [network]\naddress = \"192.168.1.5\"\n[ssh]\nauthorized_keys = [\"-----BEGIN OPENSSH PRIVATE KEY-----\"]\n",
    );
    for words in [
        "line 1: role is one of \"server\", \"agent\", \"auto\", not \"boss\"",
        "line 2: hostname may hold letters a to z, digits and dashes, but there is \"_\"",
        "line 3: join must be the token",
        "line 4: server must be an address",
        "line 5: foo is no setting; there are role, hostname",
        "line 8: a wifi password has 8 to 63 characters",
        "line 9: country is two letters",
        "line 10: hostname belongs at the top of the file, above the first [section]",
        "line 12: address must be like \"192.168.1.5/24\"",
        "line 14: this is a private key",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
    assert!(problems("ssid = \"a\"\n").contains("line 1: ssid belongs below the line [wifi]"));
    assert!(problems("[wifi]\nssdi = \"a\"\n").contains("line 2: ssdi is no setting: did you mean ssid?"));
    assert!(problems("[wifi]\npassword = \"12345678\"\n").contains("[wifi] lacks the network's name"));
    assert!(problems("[network]\naddress = \"10.0.0.5/24\"\ngateway = \"10.0.1.1\"\n").contains("line 3: gateway"));
    assert!(problems("role = \"server\"\nserver = \"10.0.0.1\"\n").contains("remove server"));
    assert!(problems("[server]\nlisten = \"0.0.0.0:1\"\n").contains("set role = \"server\""));
    assert!(problems("join = \"\"\"bramble1.abc\n\"\"\"\n").contains("join must be in one line"));
    assert!(problems("hostname = 4\n").contains("line 1: the value must be in quotes: hostname = \"4\""));
    for (name, words) in [
        (
            "identity",
            "line 3: identity is no setting of [wifi]: networks that ask for a user name (enterprise, 802.1X)",
        ),
        ("key_mgmt", "takes WPA3 alone is not supported"),
        ("hidden", "hidden networks are found without a setting"),
    ] {
        let said = problems(format!("[wifi]\nssid = \"a\"\n{name} = \"x\"\n"));
        assert!(said.contains(words), "{said}");
    }
    assert!(problems("wifi = \"home\"\n").contains("wifi is a section: a line [wifi]"));
}

#[test]
fn no_secret_is_told() {
    let text = format!("join = \"{}ß\"\n[wifi]\nssid = \"a\"\npassword = \"sesam\"\n", token());
    let said = problems(&text);
    assert!(!said.contains(&token()) && !said.contains("sesam"), "{said}");
    assert!(!format!("{:?}", everything()).contains("slash"), "{:?}", everything());
    assert!(!format!("{:?}", everything()).contains("Ab3"));
}

#[test]
fn a_wiped_file_holds_no_token_and_keeps_its_length_and_the_rest() {
    let text = render(&everything()).replace('\n', "\r\n");
    let passes = wipe(text.as_bytes(), "joined cluster c0ffee on 2026-11-25");
    assert_eq!(passes.len(), 3);
    let last = String::from_utf8(passes[2].clone()).unwrap();
    assert!(last.contains("\r\n# joined cluster c0ffee on 2026-11-25 "), "{last}");
    assert!(!last.contains("Ab3") && last.len() == text.len());
    assert!(!holds_token(&passes[2]) && wipe(&passes[2], "again").is_empty());
    assert_eq!(parse(&passes[2]), Ok(Settings { join: None, ..everything() }));
    let beside = format!("hostname = \"a\" # {}\n", token());
    let last = wipe(beside.as_bytes(), "joined").pop().unwrap();
    assert_eq!(parse(&last).unwrap().hostname.as_deref(), Some("a"));
    // A remark of the template, which only speaks of tokens.
    assert!(wipe(render(&Settings::default()).as_bytes(), "x").is_empty());
}

/// Sectors of the file are new up to there or old from there, in either order of writing.
#[test]
fn a_power_cut_within_the_wiping_leaves_a_good_file_that_can_be_wiped() {
    let text = render(&everything());
    let mut before = text.as_bytes().to_vec();
    for pass in wipe(text.as_bytes(), "joined") {
        for cut in (0..pass.len()).step_by(64) {
            for reversed in [false, true] {
                let (head, tail) = if reversed { (&before, &pass) } else { (&pass, &before) };
                let torn = [&head[..cut], &tail[cut..]].concat();
                let read = parse(&torn).unwrap();
                assert!(read.join.is_none() || read.join == everything().join, "cut at {cut}");
                let wiped = wipe(&torn, "joined").pop().unwrap_or(torn);
                assert_eq!(parse(&wiped), Ok(Settings { join: None, ..everything() }));
                let left = String::from_utf8(wiped).unwrap();
                assert!(!left.contains(&"Ab3_-".repeat(4)), "cut at {cut}: {left}");
            }
        }
        before = pass;
    }
}

#[test]
fn tables_that_lie_in_each_other_without_end_are_refused() {
    let deep = vec!["a"; 30_000].join(".");
    for text in
        [format!("[agent.{deep}]\n"), format!("[agent]\n{deep} = 1\n"), format!("[agent]\na = {}", "[".repeat(60_000))]
    {
        assert!(!problems(text).is_empty());
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = (parse(&bytes), wipe(&bytes, "note"));
    }

    #[test]
    fn any_name_and_password_and_table_survive(
        ssid in "[^\\p{C}\\s]{1,8}", password in "[ -~]{8,63}", key in ".{0,20}", text in ".{0,40}",
    ) {
        prop_assume!(!password.trim().is_empty());
        let wifi = Wifi { ssid, password: Some(Secret(password)), country: None };
        let agent: Map<String, Value> = Map::from_iter([(key.clone(), json!({ key.as_str(): [text] }))]);
        prop_assume!(key != "join");
        let settings = Settings { wifi: Some(wifi), agent, ..Settings::default() };
        prop_assert_eq!(parse(render(&settings).as_bytes()), Ok(settings));
    }
}
