//! A container's life: made, started, logged, entered, ended.

use agent_runtime::{AttachSpec, ContainerSpec, ExecSpec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::node::{Node, POD, texts};

#[tokio::test]
async fn a_container_runs_logs_and_gives_its_exit_code() {
    let mut node = Node::with_pod().await;
    let (ended, log) = node.run(node.shell("one", "echo hello; echo oops >&2; exit 3")).await;
    assert_eq!((ended.exit.exit_code, ended.exit.signal, ended.exit.oom_killed), (3, None, false));
    assert_eq!(ended.container_id, "one");
    let mut sorted = log.clone();
    sorted.sort();
    assert_eq!(sorted, ["hello", "oops"]);
}

#[tokio::test]
async fn exec_runs_beside_the_container_and_gives_its_exit_code() {
    let mut node = Node::with_pod().await;
    node.launch(node.shell("one", "echo up; exec sleep 1000")).await;
    let spec = ExecSpec {
        args: ["sh", "-c", "echo $GREETING; hostname; exit 7"].map(String::from).to_vec(),
        env: vec!["GREETING=hi".into()],
        ..Default::default()
    };
    let mut handle = node.runtime.exec(POD, "one", spec).await.unwrap();
    let mut out = String::new();
    handle.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
    assert_eq!(out, "hi\nweb-0\n");
    assert_eq!(handle.wait().await.unwrap(), 7);
    node.runtime.signal(POD, "one", 15).await.unwrap();
    node.runtime.signal(POD, "one", 9).await.unwrap();
    assert_eq!(node.ended().await.exit.exit_code, 137);
    assert_eq!(texts(&node.dir.join("logs/one/0.log")), ["up"]);
}

#[tokio::test]
async fn an_exec_with_a_terminal_can_be_resized_and_typed_into() {
    let node = Node::with_pod().await;
    node.launch(node.shell("one", "exec sleep 1000")).await;
    let args = ["sh", "-c", "read line; stty size; tty; echo got $line; exit 6"].map(String::from).to_vec();
    let spec = ExecSpec { args, tty: true, stdin: true, ..Default::default() };
    let mut handle = node.runtime.exec(POD, "one", spec).await.unwrap();
    handle.resizer().resize(101, 33).unwrap();
    handle.stdin.as_mut().unwrap().write_all(b"word\n").await.unwrap();
    let mut out = String::new();
    handle.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
    assert_eq!(out, "word\r\n33 101\r\n/dev/pts/0\r\ngot word\r\n");
    assert_eq!(handle.wait().await.unwrap(), 6);
}

#[tokio::test]
async fn an_exec_reads_its_stdin_to_the_end() {
    let node = Node::with_pod().await;
    node.launch(node.shell("one", "exec sleep 1000")).await;
    let spec = ExecSpec { args: vec!["wc".into(), "-c".into()], stdin: true, ..Default::default() };
    let mut handle = node.runtime.exec(POD, "one", spec).await.unwrap();
    let mut stdin = handle.stdin.take().unwrap();
    let mut stdout = handle.stdout.take().unwrap();
    let mut out = String::new();
    let write = async move { stdin.write_all(&vec![b'x'; 1 << 20]).await.unwrap() };
    let (_, read) = tokio::join!(write, stdout.read_to_string(&mut out));
    read.unwrap();
    assert_eq!(out.trim(), "1048576");
}

#[tokio::test]
async fn a_container_with_a_terminal_and_stdin_can_be_attached_to() {
    let mut node = Node::with_pod().await;
    for (id, tty) in [("tty", true), ("pipe", false)] {
        let spec = ContainerSpec { tty, stdin: true, ..node.shell(id, "read x; echo got $x; tty >/dev/null") };
        let log = spec.log_path.clone();
        node.launch(spec).await;
        let mut handle = node.runtime.attach(POD, id, AttachSpec { stdin: true, tty }).await.unwrap();
        handle.resizer().resize(80, 24).unwrap();
        let mut second = node.runtime.attach(POD, id, AttachSpec { stdin: false, tty }).await.unwrap();
        handle.stdin.take().unwrap().write_all(b"word\n").await.unwrap();
        for stdout in [handle.stdout.take().unwrap(), second.stdout.take().unwrap()] {
            let mut stdout = stdout;
            let mut text = String::new();
            stdout.read_to_string(&mut text).await.unwrap();
            assert!(text.replace('\r', "").ends_with("got word\n"), "{text:?}");
        }
        assert_eq!(handle.stderr.is_some(), !tty);
        assert_eq!(node.ended().await.exit.exit_code, if tty { 0 } else { 1 });
        assert_eq!(texts(&log).last().unwrap().trim(), "got word");
    }
}

#[tokio::test]
async fn who_is_attached_gets_every_byte_at_its_own_pace_and_stdin_ends_when_it_is_closed() {
    let mut node = Node::with_pod().await;
    let spec = ContainerSpec { stdin: true, ..node.shell("one", "cat | tr a b; echo done >&2") };
    node.launch(spec).await;
    let mut handle = node.runtime.attach(POD, "one", AttachSpec { stdin: true, tty: false }).await.unwrap();
    let (mut stdin, mut stdout) = (handle.stdin.take().unwrap(), handle.stdout.take().unwrap());
    let runtime = node.runtime.clone();
    let write = async move {
        stdin.write_all(&vec![b'a'; 3 << 20]).await.unwrap();
        drop(stdin);
        runtime.close_stdin(POD, "one").await.unwrap();
    };
    let mut out = Vec::new();
    let (_, read) = tokio::join!(write, stdout.read_to_end(&mut out));
    read.unwrap();
    assert!(out.len() == 3 << 20 && out.iter().all(|byte| *byte == b'b'), "{} bytes", out.len());
    let mut err = String::new();
    handle.stderr.take().unwrap().read_to_string(&mut err).await.unwrap();
    assert_eq!(err, "done\n");
    assert_eq!(node.ended().await.exit.exit_code, 0);
    assert!(node.runtime.attach(POD, "one", AttachSpec::default()).await.is_err(), "it has ended");
}

#[tokio::test]
async fn much_output_is_rotated_and_nothing_of_the_end_is_lost() {
    let mut node = Node::with_pod().await;
    let spec = node.shell("one", "yes 0123456789abcdef | head -n 400000; echo last");
    let (_, log) = node.run(spec).await;
    assert_eq!(log.last().unwrap(), "last");
    let dir = node.dir.join("logs/one");
    let files = std::fs::read_dir(&dir).unwrap().flatten().map(|entry| entry.metadata().unwrap().len());
    let sizes: Vec<u64> = files.collect();
    assert!((2..=5).contains(&sizes.len()), "{sizes:?}");
    assert!(sizes.iter().all(|size| *size < 11 << 20), "{sizes:?}");
}

#[tokio::test]
async fn stats_show_what_a_container_uses() {
    let node = Node::with_pod().await;
    node.launch(node.shell("one", "exec sleep 1000")).await;
    let stats = node.runtime.stats(POD, "one").await.unwrap();
    assert!(stats.cpu_usage_ns > 0 && stats.memory_working_set_bytes > 0 && stats.pids == 1, "{stats:?}");
}
