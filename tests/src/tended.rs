//! A cluster's server and agent as children of the test: whatever is killed is there again at once, while `bramble up`
//! waits longer each time.

use std::fs::OpenOptions;
use std::process::{Child, Stdio};

use crate::cluster::Cluster;
use crate::program::built;

/// Ends both when dropped; pods go on until the cluster's own end.
pub struct Tended<'a> {
    cluster: &'a Cluster,
    server: Option<Child>,
    agent: Option<Child>,
}

impl<'a> Tended<'a> {
    /// Starts both on the data folder of a cluster whose `bramble up` was stopped.
    pub fn start(cluster: &'a Cluster) -> Self {
        let mut tended = Self { cluster, server: None, agent: None };
        tended.tend();
        cluster.wait_ready();
        tended
    }

    pub fn cluster(&self) -> &'a Cluster {
        self.cluster
    }

    /// Starts what is not there.
    pub fn tend(&mut self) {
        let start = |name: &str, arguments: &[&str]| {
            let log = self.cluster.path().join("up.log");
            let log = OpenOptions::new().create(true).append(true).open(log).expect("a log file");
            let mut command = self.cluster.namespace.command(&built(name));
            command.args(arguments).arg("--data-dir").arg(self.cluster.data());
            command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
            command.spawn().expect("the program runs")
        };
        let is_gone =
            |child: &mut Option<Child>| child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
        if is_gone(&mut self.server) {
            let config = self.cluster.path().join("server.yaml").display().to_string();
            self.server = Some(start("bramble", &["server", "--config", &config]));
        }
        if is_gone(&mut self.agent) {
            self.agent = Some(start("bramble-agent", &[]));
        }
    }

    pub fn kill_server(&mut self) {
        end(&mut self.server);
    }

    pub fn kill_agent(&mut self) {
        end(&mut self.agent);
    }
}

/// nsenter becomes the program that it runs, so the child is that.
fn end(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        drop(child.kill());
        drop(child.wait());
    }
}

impl Drop for Tended<'_> {
    fn drop(&mut self) {
        end(&mut self.agent);
        end(&mut self.server);
    }
}
