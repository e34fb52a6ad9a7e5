//! Logs read from real files, while they are written.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use agent_streams::{LogError, LogReader};
use control_api::stream::LogRequest;
use tokio::sync::watch;

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn read(folder: &Path, request: LogRequest) -> String {
    let mut reader = LogReader::open(folder, request).unwrap();
    let mut text = Vec::new();
    while let Some(bytes) = reader.read().unwrap() {
        text.extend_from_slice(&bytes);
    }
    String::from_utf8(text).unwrap()
}

const LOG: &str = "2026-01-01T00:00:01Z stdout F one\n2026-01-01T00:00:02Z stderr P tw\n2026-01-01T00:00:02Z stderr F o\n2026-01-01T00:00:03Z stdout F three\n";

#[test]
fn a_log_is_its_text_in_order_over_rotations() {
    let folder = tempfile::tempdir().unwrap();
    append(&folder.path().join("0.log.20260101-000000.1"), "2025-12-31T00:00:00Z stdout F zero\n");
    append(&folder.path().join("0.log"), LOG);
    assert_eq!(read(folder.path(), LogRequest::default()), "zero\none\ntwo\nthree\n");
}

#[test]
fn tail_since_timestamps_and_limit_choose() {
    let folder = tempfile::tempdir().unwrap();
    append(&folder.path().join("0.log"), LOG);
    let with = |change: fn(&mut LogRequest)| {
        let mut request = LogRequest::default();
        change(&mut request);
        read(folder.path(), request)
    };
    assert_eq!(with(|request| request.tail_lines = Some(2)), "two\nthree\n");
    assert_eq!(with(|request| request.tail_lines = Some(0)), "");
    assert_eq!(with(|request| request.since_time = Some("2026-01-01T00:00:02Z".to_owned())), "two\nthree\n");
    assert_eq!(with(|request| request.since_seconds = Some(5)), "");
    assert_eq!(with(|request| request.limit_bytes = Some(5)), "one\nt");
    let stamped = with(|request| (request.timestamps, request.tail_lines) = (true, Some(2)));
    assert_eq!(stamped, "2026-01-01T00:00:02Z two\n2026-01-01T00:00:03Z three\n");
}

#[test]
fn previous_is_the_start_before() {
    let folder = tempfile::tempdir().unwrap();
    append(&folder.path().join("0.log"), "2026-01-01T00:00:01Z stdout F first\n");
    let previous = LogRequest { previous: true, ..LogRequest::default() };
    assert!(matches!(LogReader::open(folder.path(), previous.clone()), Err(LogError::NoPrevious { .. })));
    append(&folder.path().join("1.log"), "2026-01-01T00:00:01Z stdout F second\n");
    assert_eq!(read(folder.path(), previous), "first\n");
    assert_eq!(read(folder.path(), LogRequest::default()), "second\n");
    assert!(matches!(LogReader::open(Path::new("/nonexistent"), LogRequest::default()), Err(LogError::NoLog { .. })));
}

#[tokio::test]
async fn following_sees_later_lines_rotation_and_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("0.log");
    append(&log, "2026-01-01T00:00:01Z stdout F one\n2026-01-01T00:00:02Z stdout F unfini");
    let (alive, watch) = watch::channel(true);
    let seen = Arc::new(Mutex::new(String::new()));
    let grown = Arc::new(tokio::sync::Notify::new());
    let reader = LogReader::open(folder.path(), LogRequest { follow: true, ..LogRequest::default() }).unwrap();
    let task = tokio::spawn({
        let (seen, grown) = (seen.clone(), grown.clone());
        reader.run(watch, move |bytes| {
            seen.lock().unwrap().push_str(std::str::from_utf8(&bytes).unwrap());
            grown.notify_one();
            std::future::ready(true)
        })
    });
    let wait = async |wanted: &str| {
        while *seen.lock().unwrap() != wanted {
            tokio::time::timeout(std::time::Duration::from_secs(30), grown.notified()).await.expect(wanted);
        }
    };
    wait("one\n").await;
    append(&log, "shed\n");
    wait("one\nunfinished\n").await;
    fs::rename(&log, folder.path().join("0.log.20260101-000000.1")).unwrap();
    append(&log, "2026-01-01T00:00:03Z stdout F rotated\n");
    wait("one\nunfinished\nrotated\n").await;
    append(&log, "2026-01-01T00:00:04Z stdout F last\n");
    alive.send(false).unwrap();
    task.await.unwrap().unwrap();
    assert_eq!(*seen.lock().unwrap(), "one\nunfinished\nrotated\nlast\n");
}
