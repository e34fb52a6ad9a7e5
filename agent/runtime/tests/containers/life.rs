//! A container's life: made, started, logged, entered, ended.

use agent_runtime::ExecSpec;
use tokio::io::AsyncReadExt;

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
