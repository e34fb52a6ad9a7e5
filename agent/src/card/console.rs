//! `card console`: writes the machine's state to every console when it changes. It sleeps until the kernel tells of a
//! changed file or address.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use control_wire::addresses;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::sync::mpsc;

use super::place::Place;
use super::plan;
use super::screen::{View, render};

/// What changes at once, or is lost and found again, is shown once.
const SETTLE: Duration = Duration::from_secs(1);
const JOIN_LINE_FILE: &str = "join-line";

pub async fn run(place: &Place) -> Result<()> {
    let mut files = follow_files(&place.run())?;
    let mut machine = addresses::follow().context("cannot follow this machine's addresses")?;
    let mut shown = String::new();
    loop {
        let addresses = machine.borrow_and_update().clone();
        let text = render(&view(place, addresses));
        if text != shown {
            show(&text);
            shown = text;
        }
        tokio::select! {
            changed = files.recv() => changed.context("changes of files are no longer told")?,
            changed = machine.changed() => changed.context("changes of addresses are no longer told")?,
        }
        tokio::time::sleep(SETTLE).await;
        while files.try_recv().is_ok() {}
    }
}

fn view(place: &Place, addresses: Vec<std::net::IpAddr>) -> View {
    let read = |path: &Path| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let agent = read(&place.at(plan::STATE_FILE)).and_then(|text| serde_json::from_str(&text).ok());
    View {
        hostname: read(&place.at("etc/hostname")).unwrap_or_default(),
        addresses,
        is_server: read(&place.run().join("role")).as_deref() == Some("server"),
        agent,
        join: read(&place.run().join(JOIN_LINE_FILE)),
        has_error: place.error().exists(),
    }
}

/// A word for each time that something in the folder has changed.
fn follow_files(folder: &Path) -> Result<mpsc::Receiver<()>> {
    let watch = || {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC)?;
        let changes = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_DELETE;
        inotify.add_watch(folder, changes)?;
        nix::Result::Ok(inotify)
    };
    let inotify = watch().with_context(|| format!("cannot follow {}", folder.display()))?;
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        while inotify.read_events().is_ok() && !sender.is_closed() {
            // One that waits already says as much.
            let _ = sender.try_send(());
        }
    });
    Ok(receiver)
}

/// On a screen and on serial lines alike, whichever the kernel has for its console.
fn show(text: &str) {
    let active = std::fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    for name in active.split_whitespace() {
        // The screen that is in front may be another one.
        let name = if name == "tty0" { "tty1" } else { name };
        let flags = libc::O_NOCTTY | libc::O_NONBLOCK;
        let console = OpenOptions::new().write(true).custom_flags(flags).open(format!("/dev/{name}"));
        let clear = if name.starts_with("tty1") { "\x1b[2J\x1b[H" } else { "" };
        let written = console.and_then(|mut console| console.write_all(format!("{clear}{text}").as_bytes()));
        if let Err(error) = written {
            tracing::debug!(name, %error, "a console cannot be written to");
        }
    }
}
