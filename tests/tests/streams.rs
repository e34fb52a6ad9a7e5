//! Every way that kubectl streams: exec, attach, cp and port-forward, over WebSockets and over SPDY.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tests::cluster::{Cluster, DEMO};
use tests::program::{Said, eventually, kubectl_of};

/// A kubectl, whether it is told to stream over WebSockets, and how it asks then: with GET for them, with POST for SPDY.
struct Way {
    program: PathBuf,
    websocket: &'static str,
    verb: &'static str,
}

/// The newest kubectl and the first that knew WebSockets over both, one of those that began to prefer them, and one
/// that knows SPDY alone.
fn ways() -> Vec<Way> {
    [
        ("newest", "true", "GET"),
        ("newest", "false", "POST"),
        ("1.30", "true", "GET"),
        ("1.30", "false", "POST"),
        ("1.33", "", "GET"),
        ("1.27", "", "POST"),
    ]
    .map(|(version, websocket, verb)| Way { program: kubectl_of(version), websocket, verb })
    .into()
}

impl Way {
    fn command(&self, cluster: &Cluster, arguments: &[&str]) -> Command {
        self.told(cluster.kubectl_command(&self.program, arguments))
    }

    fn told(&self, mut command: Command) -> Command {
        command.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", self.websocket);
        command.env("KUBECTL_PORT_FORWARD_WEBSOCKETS", self.websocket);
        command
    }

    fn run(&self, cluster: &Cluster, arguments: &[&str]) -> Said {
        Said::by(&mut self.command(cluster, arguments))
    }

    /// Where WebSockets fail, kubectl takes SPDY and says nothing: only its log, from `-v=6` on, knows.
    fn was_taken(&self, path: &str, log: &str) {
        let asked: Vec<&str> = log.lines().filter(|line| line.contains(path)).collect();
        assert!(!asked.is_empty() && asked.iter().all(|line| line.contains(self.verb)), "{}: {log}", self.verb);
    }
}

/// Tells the terminal's size when it is as the client's, which comes beside the input and may come later: who attaches
/// sends a wrong one first, so that what runs notices. What the terminal echoes of these words is not their answer.
const SIZED: &str = "until busybox stty size 2>/dev/null | grep -x 33.[1]01; do sleep 0.1; done";

/// Bytes of every value that do not repeat.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn through(mut command: Command, input: &[u8]) -> Vec<u8> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            stdin.write_all(input).unwrap();
        });
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        output.stdout
    })
}

fn pod(cluster: &Cluster, name: &str, container: &str) {
    let manifest = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 1\n  \
         containers:\n  - name: main\n    image: {DEMO}\n    {container}\n"
    );
    cluster.apply(&manifest).ok();
    cluster.k(&format!("wait pod {name} --for=condition=Ready --timeout=60s")).ok();
}

#[test]
fn each_kubectl_runs_commands_and_copies_files_over_both_transports() {
    let cluster = Cluster::start();
    pod(&cluster, "web", "");
    let (data, small) = (noise(12 << 20), noise(3 << 20));
    let (file, back) = (cluster.path().join("up.bin"), cluster.path().join("back.bin"));
    std::fs::write(&file, &data).unwrap();
    for way in ways() {
        let run = |words: &[&str]| way.run(&cluster, words);
        let hello = run(&["-v=6", "exec", "web", "--", "echo", "hello"]);
        assert_eq!(hello.ok(), "hello\n");
        way.was_taken("/exec?", &hello.err);
        let both = run(&["exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
        assert_eq!((both.code, both.out.as_str()), (7, "out\n"), "{}", both.err);
        assert!(both.err.starts_with("err\n") && both.err.contains("exit code 7"), "{}", both.err);
        run(&["exec", "web", "--", "nothing-here"]).fails("nothing-here");
        assert!(through(way.command(&cluster, &["exec", "-i", "web", "--", "cat"]), &small) == small);
        // Input that is not read must not lose the answer.
        let head = through(
            way.command(&cluster, &["exec", "-i", "web", "--", "sh", "-c", "head -c 5; cat > /dev/null"]),
            &small,
        );
        assert!(head == small[..5]);
        let line = format!("exec -it web -- sh -c 'read word; echo got $word; {SIZED}; exit 3'");
        let mut terminal = way.talk_on_terminal(&cluster, &line);
        terminal.say("yes\n");
        terminal.hear("got yes");
        terminal.hear("33 101");
        assert_eq!(terminal.child.wait().unwrap().code(), Some(3));
        run(&["cp", file.to_str().unwrap(), "web:/tmp/up.bin"]).ok();
        assert_eq!(run(&["exec", "web", "--", "stat", "-c", "%s", "/tmp/up.bin"]).ok().trim(), data.len().to_string());
        run(&["cp", "web:/tmp/up.bin", back.to_str().unwrap()]).ok();
        assert!(std::fs::read(&back).unwrap() == data, "what comes back is what went");
        run(&["exec", "web", "--", "rm", "/tmp/up.bin"]).ok();
    }
}

/// `kubectl port-forward` or `kubectl proxy`, ended when dropped.
struct Forward {
    child: Child,
    port: String,
    errors: PathBuf,
    /// It says every connection, and would end where nobody hears.
    _out: BufReader<ChildStdout>,
}

impl Forward {
    fn start(way: &Way, cluster: &Cluster, target: &str, port: u16) -> Self {
        Self::by(way, cluster, &["-v=6", "port-forward", target, &format!(":{port}")])
    }

    fn by(way: &Way, cluster: &Cluster, words: &[&str]) -> Self {
        let errors = cluster.path().join("forward.err");
        let mut command = way.command(cluster, words);
        command.stdout(Stdio::piped()).stderr(std::fs::File::create(&errors).unwrap());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let port = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split_whitespace().next());
        let port = port.unwrap_or_else(|| panic!("{line:?} {}", std::fs::read_to_string(&errors).unwrap())).to_owned();
        Self { child, port, errors, _out: out }
    }

    fn errors(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap()
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn each_kubectl_forwards_ports_over_both_transports() {
    let cluster = Cluster::start();
    // Only on the pod's own loopback, where nothing else reaches it.
    let serve =
        "dd if=/dev/urandom of=/www/big bs=1M count=8; nc -ll -p 9000 -e cat & httpd -f -p 127.0.0.1:8080 -h /www";
    pod(&cluster, "web", &format!(r#"command: ["sh","-c","{serve}"]"#));
    let digest = cluster.k("exec web -- md5sum /www/big").ok().split(' ').next().unwrap().to_owned();
    for way in ways() {
        let forward = Forward::start(&way, &cluster, "pod/web", 8080);
        let url = format!("http://127.0.0.1:{}", forward.port);
        eventually("the page comes", 60, || cluster.http(&url).out.contains("Hello from a bramble"));
        let many = format!("for i in $(seq 20); do curl -sf -m 20 {url}/big | md5sum & done; wait");
        let digests = cluster.namespace.sh(&many).ok().to_owned();
        assert_eq!(digests.matches(&digest).count(), 20, "{digests} {}", forward.errors());
        way.was_taken("/portforward", &forward.errors());
        drop(forward);
        let forward = Forward::start(&way, &cluster, "pod/web", 9000);
        // What the client says after the end of its own half is nothing; what the pod says still comes.
        let echo = format!("head -c 3000000 /dev/zero | timeout 20 busybox nc 127.0.0.1 {} | wc -c", forward.port);
        assert_eq!(cluster.namespace.sh(&echo).ok().trim(), "3000000", "{}", forward.errors());
        drop(forward);
        let forward = Forward::start(&way, &cluster, "pod/web", 81);
        cluster.http(&format!("http://127.0.0.1:{}", forward.port)).fails("curl");
        eventually("kubectl tells why", 60, || forward.errors().contains("error forwarding port 81 to pod web"));
        assert!(forward.errors().contains("refused"), "{}", forward.errors());
    }
}

#[test]
fn each_kubectl_lends_its_rights_by_a_proxy() {
    let cluster = Cluster::start();
    pod(&cluster, "web", "command: [httpd, -f, -p, '8080', -h, /www]");
    for way in ways() {
        let proxy = Forward::by(&way, &cluster, &["proxy", "--port=0", "--reject-paths=/none"]);
        let server = format!("http://127.0.0.1:{}", proxy.port);
        let get = |path: &str| cluster.http(&format!("{server}{path}"));
        get("/version").shows("v1.35");
        get("/api/v1/namespaces/default/pods").shows("\"PodList\"");
        get("/api/v1/namespaces/default/pods?watch=1&timeoutSeconds=1").shows("\"ADDED\"");
        let page = "/api/v1/namespaces/default/pods/web:8080/proxy/";
        eventually("the page comes", 60, || get(page).out.contains("Hello from a bramble"));
        let hello = way.run(&cluster, &["-v=6", "--server", &server, "exec", "web", "--", "echo", "hello"]);
        assert_eq!(hello.ok(), "hello\n");
        way.was_taken("/exec?", &hello.err);
    }
}

/// A client that is spoken to.
struct Talk {
    child: Child,
    heard: String,
}

impl Talk {
    fn start(mut command: Command) -> Self {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        Self { child, heard: String::new() }
    }

    fn say(&mut self, words: &str) {
        self.child.stdin.as_mut().unwrap().write_all(words.as_bytes()).unwrap();
    }

    /// Reads until `words` came. What starts a client limits its time.
    fn hear(&mut self, words: &str) {
        let mut buffer = [0; 4096];
        while !self.heard.contains(words) {
            let count = self.child.stdout.as_mut().unwrap().read(&mut buffer).unwrap();
            assert!(count > 0, "wanted: {words}\nheard: {}", self.heard);
            self.heard.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    }

    /// With `timeout`, which leads a group of its own.
    fn kill(mut self) {
        let group = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        killpg(group, Signal::SIGKILL).unwrap();
        self.child.wait().unwrap();
    }
}

impl Way {
    fn talk(&self, cluster: &Cluster, arguments: &[&str]) -> Talk {
        let words = [&["60", self.program.to_str().unwrap()], arguments].concat();
        Talk::start(self.told(cluster.kubectl_command(Path::new("timeout"), &words)))
    }

    /// Lends it a terminal.
    fn talk_on_terminal(&self, cluster: &Cluster, line: &str) -> Talk {
        let line = format!("stty cols 101 rows 33; exec {} {line}", self.program.display());
        let words = ["60", "script", "-qec", &line, "/dev/null"];
        Talk::start(self.told(cluster.kubectl_command(Path::new("timeout"), &words)))
    }
}

#[test]
fn each_kubectl_attaches_to_what_runs_already() {
    let cluster = Cluster::start();
    pod(&cluster, "shell", "command: [sh]\n    stdin: true\n    tty: true");
    let script = "while read word; do echo got $word; echo on $word >&2; done";
    pod(&cluster, "lines", &format!("command: [sh, -c, {script:?}]\n    stdin: true"));
    for (number, way) in ways().iter().enumerate() {
        let mut shell = way.talk_on_terminal(&cluster, "attach -it shell");
        shell.say(&format!("echo two$((1+1)); {SIZED}\n"));
        shell.hear("two2");
        shell.hear("33 101");
        shell.kill();
        let mut lines = way.talk(&cluster, &["attach", "-i", "lines"]);
        lines.say(&format!("word{number}\n"));
        lines.hear(&format!("got word{number}\n"));
        // Its end detaches, since the container's input lasts.
        drop(lines.child.stdin.take());
        assert!(lines.child.wait().unwrap().success());
        let image = format!("--image={DEMO}");
        let name = format!("once-{number}");
        let run = ["run", &name, "-i", "--rm", "--quiet", "--restart=Never", &image, "--command", "--"];
        let command = way.command(&cluster, &[&run[..], &["sh", "-c", "sleep 1; cat; echo end"]].concat());
        let said = String::from_utf8_lossy(&through(command, b"a line\n")).into_owned();
        assert!(said.contains("a line\n") && said.contains("end\n"), "{said}");
        let line = format!("run tty-{number} -it --rm --restart=Never {image} --command -- sh");
        let mut fresh = way.talk_on_terminal(&cluster, &line);
        fresh.say("echo four$((2+2))\n");
        fresh.hear("four4");
        fresh.say("exit\n");
        fresh.hear("deleted");
        fresh.child.wait().unwrap();
    }
    let starts = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
    assert_eq!(cluster.kubectl(&["get", "pods", "-o", starts]).ok(), "0 0", "who leaves ends nothing");
    cluster.k("attach web-0").fails("not found");
    pod(&cluster, "deaf", "");
    cluster.k("get --raw /api/v1/namespaces/default/pods/deaf/attach?stdin=true&stdout=true").fails("stdin: true");
}

#[test]
fn who_is_killed_takes_along_what_it_started_and_a_stopped_server_says_so() {
    let mut cluster = Cluster::start();
    pod(&cluster, "web", "");
    let trap = "trap 'touch /tmp/hup; exit' HUP; echo ready; while true; do sleep 1; done";
    for way in ways().iter().take(2) {
        let mut hung_up = way.talk_on_terminal(&cluster, &format!("exec -it web -- sh -c \"{trap}\""));
        hung_up.hear("ready");
        hung_up.kill();
        eventually("the terminal's process is told", 60, || cluster.k("exec web -- test -e /tmp/hup").code == 0);
        cluster.k("exec web -- rm /tmp/hup").ok();
        // It reads nothing, and has more to read than fits anywhere.
        let mut deaf = way.talk(&cluster, &["exec", "-i", "web", "--", "sh", "-c", "echo ready; exec sleep 7777"]);
        deaf.hear("ready");
        let mut stdin = deaf.child.stdin.take().unwrap();
        let writing = std::thread::spawn(move || stdin.write_all(&noise(8 << 20)).is_err());
        eventually("it runs", 30, || cluster.container_pids("sleep").len() == 1);
        deaf.kill();
        eventually("it is ended", 60, || cluster.container_pids("sleep").is_empty());
        assert!(writing.join().unwrap(), "what was written went nowhere");
    }
    let mut left = ways()[0].talk(&cluster, &["exec", "web", "--", "sh", "-c", "echo ready; sleep 60"]);
    left.hear("ready");
    cluster.stop_up();
    assert!(!left.child.wait().unwrap().success());
}

#[test]
fn streams_that_nobody_reads_hold_up_nothing_else() {
    let cluster = Cluster::start();
    pod(&cluster, "web", "");
    let way = &ways()[0];
    let mut stopped: Vec<Talk> =
        (0..8).map(|_| way.talk(&cluster, &["exec", "web", "--", "sh", "-c", "echo ready; cat /dev/zero"])).collect();
    for one in &mut stopped {
        one.hear("ready");
    }
    pod(&cluster, "next", "");
    cluster.k("exec next -- echo hello").shows("hello");
    cluster.k("delete pod next --timeout=60s").ok();
    for one in stopped {
        one.kill();
    }
    eventually("they are ended", 30, || cluster.container_pids("cat").is_empty());
}

#[test]
fn streams_are_for_those_who_may_create_them() {
    let cluster = Cluster::start();
    pod(&cluster, "web", "");
    for way in ways() {
        let run = |words: &[&str]| way.run(&cluster, words);
        for words in [&["exec", "web", "--", "true"][..], &["attach", "web"], &["port-forward", "web", ":8080"]] {
            let words = [&["--as=bob"], words].concat();
            run(&words).fails("forbidden");
        }
    }
    cluster.k("create role looks --verb=get --resource=pods,pods/exec").ok();
    cluster.k("create rolebinding looks --role=looks --user=eve").ok();
    cluster.k("create role enters --verb=get,create --resource=pods,pods/exec").ok();
    cluster.k("create rolebinding enters --role=enters --user=bob").ok();
    for way in ways() {
        way.run(&cluster, &["--as=eve", "exec", "web", "--", "true"]).fails("forbidden");
        way.run(&cluster, &["--as=bob", "exec", "web", "--", "true"]).ok();
    }
}

#[test]
fn pages_of_pods_and_services_come_through_the_api_server() {
    let cluster = Cluster::start();
    let page = "echo '#!/bin/sh' > say; echo 'echo; cat; echo $REQUEST_METHOD $QUERY_STRING' >> say";
    let script =
        format!("mkdir /www/cgi-bin; cd /www/cgi-bin; {page}; busybox chmod +x say; exec httpd -f -p 8080 -h /www");
    let ports = "ports: [{containerPort: 8080, name: web}]";
    pod(&cluster, "web", &format!("command: [sh, -c, {script:?}]\n    {ports}"));
    cluster.k("label pod web app=web").ok();
    cluster.k("expose pod web --port=80 --target-port=8080").ok();
    let base = "/api/v1/namespaces/default";
    eventually("the Service has an endpoint", 60, || {
        cluster.k(&format!("get --raw {base}/services/web/proxy/")).out == "Hello from a bramble.\n"
    });
    for name in ["pods/web", "pods/web:8080", "pods/http:web:8080", "services/web:80", "services/http:web:80"] {
        cluster.k(&format!("get --raw {base}/{name}/proxy/index.html")).shows("Hello from a bramble.");
    }
    cluster.k("create serviceaccount poster").ok();
    cluster.k("create clusterrolebinding posters --clusterrole=admin --serviceaccount=default:poster").ok();
    let token = cluster.k("create token poster").ok().to_owned();
    let mut curl = cluster.namespace.command(Path::new("curl"));
    curl.args(["-sk", "-m", "5", "-H", &format!("Authorization: Bearer {}", token.trim()), "-d", "said "]);
    let said = Said::by(curl.arg(format!("https://127.0.0.1:6443{base}/pods/web/proxy/cgi-bin/say?a=1%202")));
    said.shows("said POST a=1%202");
    cluster.k(&format!("get --raw {base}/pods/web/proxy/none")).fails("NotFound");
    cluster.k(&format!("get --raw {base}/pods/web:81/proxy/")).fails("refused");
    cluster.k(&format!("get --raw {base}/pods/https:web:81/proxy/")).fails("only http is");
    cluster.k(&format!("get --raw {base}/services/web:81/proxy/")).fails("no service port 81 found");
    cluster.k(&format!("--as=bob get --raw {base}/pods/web/proxy/")).fails("forbidden");
}
