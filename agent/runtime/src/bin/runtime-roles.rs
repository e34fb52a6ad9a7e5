//! A small agent for this crate's tests: it plays the roles, and holds a runtime that can be killed.

use std::path::PathBuf;

use agent_runtime::{Config, ContainerSpec, Runtime, SandboxSpec, dispatch};

fn main() {
    dispatch();
    let args: Vec<String> = std::env::args().collect();
    let [_, data_dir, cgroup_parent, order] = args.as_slice() else {
        eprintln!("usage: runtime-roles DATA_DIR CGROUP_PARENT ORDER");
        std::process::exit(2)
    };
    let order = std::fs::read(PathBuf::from(order)).expect("the test wrote the order");
    let (sandbox, containers): (SandboxSpec, Vec<ContainerSpec>) =
        serde_json::from_slice(&order).expect("the test wrote JSON");
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a reactor can be made");
    tokio.block_on(async {
        let runtime = Runtime::new(Config::new(data_dir, cgroup_parent)).await.expect("the folder can be made");
        let uid = sandbox.uid.clone();
        runtime.create_sandbox(sandbox).await.expect("the sandbox can be made");
        for container in containers {
            let id = container.id.clone();
            runtime.create_container(&uid, container).await.expect("the container can be made");
            runtime.start(&uid, &id).await.expect("the container can be started");
        }
        println!("ready");
        std::future::pending::<()>().await
    });
}
