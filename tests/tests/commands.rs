//! Every command of kubectl that the served kinds allow, with old clients and new ones; and what nodes and pods use.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::path::Path;
use std::process::Stdio;

use tests::cluster::{Cluster, DEMO};
use tests::program::{Said, each_kubectl, eventually, kubectl};

/// One client at work in a namespace of its own.
struct Client<'a> {
    cluster: &'a Cluster,
    program: &'a Path,
    namespace: String,
}

impl Client<'_> {
    fn words(&self, words: &[&str]) -> Said {
        let mut all = vec!["-n", &self.namespace];
        all.extend(words);
        Said::by(self.cluster.kubectl_command(self.program, &all).stdin(Stdio::null()))
    }

    /// Written as in a shell, without quotes.
    fn run(&self, line: &str) -> Said {
        self.words(&line.split_whitespace().collect::<Vec<_>>())
    }

    fn edit(&self, line: &str, editor: &str) -> Said {
        let mut words = vec!["-n", &self.namespace];
        words.extend(line.split_whitespace());
        Said::by(self.cluster.kubectl_command(self.program, &words).env("KUBE_EDITOR", editor))
    }
}

fn each(cluster: &Cluster, work: impl Fn(&Client<'_>) + Sync) {
    let programs = each_kubectl();
    std::thread::scope(|scope| {
        for (index, program) in programs.iter().enumerate() {
            let work = &work;
            scope.spawn(move || {
                let client = Client { cluster, program, namespace: format!("team{index}") };
                client.run(&format!("create namespace {}", client.namespace)).ok();
                work(&client);
            });
        }
    });
}

/// What `kubectl apply -k` takes.
fn kustomization(client: &Client<'_>) -> String {
    let folder = client.cluster.path().join(&client.namespace);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("kustomization.yaml"), "resources: [settings.yaml]\n").unwrap();
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {size: small}\n";
    std::fs::write(folder.join("settings.yaml"), manifest).unwrap();
    folder.display().to_string()
}

#[test]
fn every_command_that_changes_objects_works_with_each_kubectl() {
    let cluster = Cluster::start();
    each(&cluster, |client| {
        let run = |line: &str| client.run(line);
        let folder = kustomization(client);
        run(&format!("kustomize {folder}")).shows("size: small");
        assert_eq!(run(&format!("diff -k {folder}")).code, 1);
        run(&format!("apply -k {folder}")).shows("configmap/settings created");
        assert_eq!(run(&format!("diff -k {folder}")).code, 0);
        run("apply view-last-applied cm settings").shows("size: small");
        run(&format!("apply set-last-applied -f {folder}/settings.yaml")).ok();
        run(&format!("replace -f {folder}/settings.yaml")).shows("replaced");
        run(&format!("replace --force -f {folder}/settings.yaml")).shows("replaced");
        client.edit("edit cm settings", "sed -i s/small/large/").shows("edited");
        assert_eq!(run("get cm settings -o jsonpath={.data.size}").ok(), "large");
        run("label cm settings a=b").shows("labeled");
        run("annotate cm settings a=b").shows("configmap/settings annotate");
        run(r#"patch cm settings -p {"data":{"size":"medium"}}"#).shows("patched");
        run("create secret docker-registry pull --docker-server=a --docker-username=b --docker-password=c").ok();
        run("create service clusterip plain --tcp=80").ok();
        run("create service externalname far --external-name=example.com").ok();
        run("create role reader --verb=get --resource=pods").ok();
        run("create rolebinding readers --role=reader --serviceaccount=default:default").ok();
        run("set subject rolebinding readers --user=eve").shows("subjects updated");
        run("describe rolebinding readers").shows("eve");
        let roles = client.run("get role,rolebinding -o yaml").ok().to_owned();
        let file = client.cluster.path().join(format!("{}-roles.yaml", client.namespace));
        std::fs::write(&file, roles).unwrap();
        run(&format!("auth reconcile -f {}", file.display())).shows("reconciled");
        run("create token default").shows("eyJ");
        run(&format!("create job once --image={DEMO} -- true")).ok();
        run("wait job/once --for=condition=complete --timeout=60s").shows("condition met");
        run("delete configmap settings").shows("deleted");
        run("delete job,secret,service,role,rolebinding --all").shows("deleted");
    });
}

/// The ReplicaSet's ancestor, which takes its selector from its template.
fn replication_controller(client: &Client<'_>) {
    let run = |line: &str| client.run(line);
    let path = client.cluster.path().join(format!("{}.yaml", client.namespace));
    let manifest = format!(
        "apiVersion: v1\nkind: ReplicationController\nmetadata: {{name: old}}\nspec:\n  template:\n    metadata: {{labels: \
         {{app: old}}}}\n    spec: {{containers: [{{name: main, image: '{DEMO}'}}]}}\n"
    );
    std::fs::write(&path, manifest).unwrap();
    run(&format!("create -f {}", path.display())).shows("replicationcontroller/old created");
    run("scale rc old --replicas=2").shows("scaled");
    run("wait rc/old --for=jsonpath={.status.readyReplicas}=2 --timeout=60s").shows("condition met");
    run("get rc old -o wide --no-headers").shows("app=old");
    run("describe rc old").shows("SuccessfulCreate");
    run("get all -l app=old").shows("replicationcontroller/old");
    run("expose rc old --port=80").shows("service/old exposed");
    run("delete rc,service old").shows("deleted");
    run("wait pods -l app=old --for=delete --timeout=60s").ok();
}

/// A pod that sees the machine: its processes, its network and its files.
fn debug_node(client: &Client<'_>, node: &str) {
    let run = |line: &str| client.run(line);
    let sees = "ls /proc | grep -c '^[0-9]' && ls /host/proc/1 && exec sleep 1000";
    let target = format!("node/{node}");
    let said = client.words(&["debug", &target, "--image", DEMO, "--", "sh", "-c", sees]);
    let said = format!("{}{}", said.ok(), said.err);
    let name = said.split_whitespace().find(|word| word.starts_with("node-debugger-")).unwrap().to_owned();
    run(&format!("wait pod/{name} --for=condition=Ready --timeout=60s")).shows("condition met");
    eventually("the machine's files are seen", 30, || run(&format!("logs {name}")).out.contains("cmdline"));
    assert_eq!(run(&format!("get pod {name} -o jsonpath={{.spec.nodeName}}")).ok(), node);
    run(&format!("exec {name} -- sh -c true")).ok();
    run(&format!("delete pod {name} --now")).shows("deleted");
}

#[test]
fn every_command_about_workloads_works_with_each_kubectl() {
    let cluster = Cluster::start();
    let node = cluster.k("get nodes -o jsonpath={.items[0].metadata.name}").ok().to_owned();
    each(&cluster, |client| {
        let run = |line: &str| client.run(line);
        run(&format!("create deployment web --image={DEMO} --port=8080")).ok();
        run("rollout status deployment/web --timeout=60s").shows("successfully rolled out");
        run("expose deployment web --port=80 --target-port=8080").shows("service/web exposed");
        run("expose service web --port=81 --name=again").shows("service/again exposed");
        run("set env deployment/web A=B").shows("env updated");
        run("set resources deployment/web --limits=memory=64Mi").shows("resource requirements updated");
        run("set serviceaccount deployment/web default").shows("serviceaccount updated");
        run("set selector service again app=web").shows("selector updated");
        run("rollout pause deployment/web").shows("paused");
        run("rollout resume deployment/web").shows("resumed");
        run("rollout restart deployment/web").shows("restarted");
        run("rollout history deployment/web").shows("REVISION");
        run("rollout undo deployment/web").shows("rolled back");
        run("scale deployment web --replicas=2").shows("scaled");
        run("rollout status deployment/web --timeout=60s").shows("successfully rolled out");
        eventually("events are told", 30, || run("events --for deployment/web").out.contains("ScalingReplicaSet"));
        run("describe service web").shows("TargetPort");
        run("get all").shows("deployment.apps/web");
        run(&format!("run one --image={DEMO} --restart=Never --command -- sleep 4321")).shows("created");
        run("wait pod/one --for=condition=Ready --timeout=60s").shows("condition met");
        run("exec one -- echo hello").shows("hello");
        run(&format!("debug one --image={DEMO} --copy-to=two --share-processes=false -- sleep 100")).ok();
        run("wait pod/two --for=condition=Ready --timeout=60s").shows("condition met");
        let debug = ["debug", "one", "--image", DEMO, "--target=one", "-c", "look", "--", "sh", "-c", "ps; sleep 3600"];
        client.words(&debug).ok();
        // It sees the processes of the container that it was sent to.
        eventually("the other's process is seen", 60, || run("logs one -c look").out.contains("sleep 4321"));
        assert_eq!(run("get pod one -o jsonpath={.status.ephemeralContainerStatuses[0].name}").ok(), "look");
        run("exec one -c look -- echo inside").shows("inside");
        let again = ["debug", "one", "--image", DEMO, "--target=none", "-c", "other", "--", "true"];
        client.words(&again).fails("targetContainerName: Not found: \"none\"");
        let plain = r#"patch pod one -p {"spec":{"ephemeralContainers":[{"name":"x","image":"y"}]}}"#;
        run(plain).fails("pod updates may not change fields");
        run("delete pod one two --now").shows("deleted");
        replication_controller(client);
        debug_node(client, &node);
        run("delete deployment/web service/web service/again").shows("deleted");
    });
}

/// What kubectl keeps of its clusters and users, in a file of the client's own.
fn config(client: &Client<'_>) {
    let file = client.cluster.path().join(format!("{}.kubeconfig", client.namespace));
    std::fs::copy(client.cluster.kubeconfig(), &file).unwrap();
    let run = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        Said::by(client.cluster.kubectl_command(client.program, &words).env("KUBECONFIG", &file))
    };
    let context =
        |field: &str| run(&format!("config view -o jsonpath={{.contexts[0].context.{field}}}")).ok().to_owned();
    let (cluster, user) = (context("cluster"), context("user"));
    assert_eq!(run("config current-context").ok(), "bramble\n");
    run("config get-clusters").shows(&cluster);
    run("config get-users").shows(&user);
    run(&format!("config set-context other --cluster={cluster} --user={user} --namespace=kube-system")).ok();
    run("config use-context other").shows("Switched");
    run("get service kubernetes -n default").shows("10.43.0.1");
    run("config rename-context other third").shows("renamed");
    run("config set-credentials nobody --token=none").shows("set");
    run("config set-context third --user=nobody").shows("modified");
    run("get pods").fails("You must be logged in to the server");
    run("config delete-context third").ok();
    run("config delete-user nobody").ok();
    run("config unset current-context").ok();
    run("config current-context").fails("current-context is not set");
}

#[test]
fn every_command_that_only_asks_works_with_each_kubectl() {
    let cluster = Cluster::start();
    let node = cluster.k("get nodes -o jsonpath={.items[0].metadata.name}").ok().to_owned();
    each(&cluster, |client| {
        let run = |line: &str| client.run(line);
        run("auth can-i create pods").shows("yes");
        run("auth can-i --list").shows("*.*");
        if client.program.ends_with("kubectl.1.27") {
            // It knows only versions of it that Kubernetes 1.35 does not serve either.
            run("auth whoami").fails("the selfsubjectreviews API is not enabled in the cluster");
        } else {
            run("auth whoami").shows("kubernetes-admin");
        }
        run("config view --minify").shows("current-context: bramble");
        run("config get-contexts").shows("bramble");
        config(client);
        run("cluster-info").shows("is running at");
        run("cluster-info dump -o yaml").shows("kind: ReplicationControllerList");
        run("api-resources --api-group=metrics.k8s.io").shows("PodMetrics");
        run("api-versions").shows("metrics.k8s.io/v1beta1");
        run("explain deployment.spec.strategy").shows("RollingUpdate");
        run("explain pods --recursive").shows("ephemeralContainers");
        run("version").shows("v1.35");
        run("completion bash").shows("kubectl");
        run("get events -A").ok();
        run(&format!("describe node {node}")).shows("Allocatable");
        run("describe namespace default").shows("Active");
        run("get sa -o custom-columns=N:.metadata.name").shows("default");
        run("get nodes --sort-by=.metadata.name -o wide").shows(&node);
        run("get --raw /readyz").shows("ok");
        run(&format!("cordon {node} --dry-run=server")).shows("cordoned (server dry run)");
        run(&format!("uncordon {node} --dry-run=server")).shows("uncordoned");
        run(&format!("drain {node} --dry-run=server --ignore-daemonsets --force")).shows("drained (server dry run)");
        run(&format!("taint node {node} a=b:NoSchedule --dry-run=server")).shows("tainted");
        // What is not served is refused.
        run(&format!("create deployment web --image={DEMO} --replicas=0")).ok();
        let words = "this cluster does not have horizontalpodautoscalers.autoscaling, nothing is scaled automatically";
        run("autoscale deployment web --max=3 --cpu-percent=80").fails(words);
        if !client.program.to_string_lossy().contains("kubectl.1.") {
            run("autoscale deployment web --max=3 --cpu=80%").fails(words);
        }
        run("get hpa").fails("the server doesn't have a resource type \"hpa\"");
        for (line, kind) in [
            ("create quota q --hard=pods=1", "resourcequotas"),
            ("create poddisruptionbudget p --selector=a=b --min-available=1", "poddisruptionbudgets.policy"),
            ("create priorityclass p --value=1", "priorityclasses.scheduling.k8s.io"),
            ("create cronjob c --image=x --schedule=@daily -- true", "cronjobs.batch"),
            ("create ingress i --rule=a/b=c:80", "ingresses.networking.k8s.io"),
        ] {
            let words = "the server could not find the requested resource: this cluster does not have";
            run(line).fails(&format!("{words} {kind}"));
        }
        run("certificate approve x").fails("certificatesigningrequests.certificates.k8s.io \"x\" not found");
    });
}

#[test]
fn nodes_pods_and_containers_tell_what_they_use() {
    let cluster = Cluster::start();
    let node = cluster.k("get nodes -o jsonpath={.items[0].metadata.name}").ok().to_owned();
    let burn =
        ["run", "burn", "--image", DEMO, "--labels=kind=hot", "--command", "--", "sh", "-c", "while :; do :; done"];
    cluster.kubectl(&burn).ok();
    cluster.kubectl(&["run", "idle", "--image", DEMO]).ok();
    cluster.k("wait pod/burn pod/idle --for=condition=Ready --timeout=60s").ok();
    let milli = |line: &str, column: usize| -> u64 {
        let field = line.split_whitespace().nth(column).unwrap_or_else(|| panic!("{line}"));
        field.trim_end_matches('m').parse().unwrap_or_else(|_| panic!("{line}"))
    };
    for program in each_kubectl() {
        let run = |line: &str| {
            Said::by(&mut cluster.kubectl_command(&program, &line.split(' ').collect::<Vec<_>>())).ok().to_owned()
        };
        let nodes = run("top nodes --no-headers");
        assert!(nodes.starts_with(&node) && milli(&nodes, 1) > 0, "{nodes}");
        let hot = run("top pods --no-headers -l kind=hot");
        // It may have to share its core with everything else that is tried at the same time.
        assert!(hot.starts_with("burn") && milli(&hot, 1) >= 20 && hot.lines().count() == 1, "{hot}");
        let containers = run("top pods --containers --no-headers --sort-by=cpu");
        assert!(containers.lines().count() == 2, "{containers}");
        let idle = containers.lines().find(|line| line.starts_with("idle")).unwrap();
        assert!(milli(idle, 2) < 20, "{containers}");
        run("top pod burn");
    }
    let proxy = |path: &str| cluster.k(&format!("get --raw /api/v1/nodes/{node}/proxy{path}"));
    let summary: serde_json::Value = serde_json::from_str(proxy("/stats/summary").ok()).unwrap();
    assert_eq!(summary["node"]["nodeName"], *node);
    assert!(summary["node"]["fs"]["capacityBytes"].as_u64().unwrap() > 0, "{summary}");
    let pods = summary["pods"].as_array().unwrap();
    let burn = pods.iter().find(|pod| pod["podRef"]["name"] == "burn").unwrap();
    assert!(burn["containers"][0]["cpu"]["usageNanoCores"].as_u64().unwrap() > 20_000_000, "{burn}");
    assert!(burn["memory"]["workingSetBytes"].as_u64().unwrap() > 0, "{burn}");
    assert!(burn["network"]["interfaces"].is_array(), "{burn}");
    let line = "container_cpu_usage_seconds_total{container=\"burn\"";
    proxy("/metrics/resource").shows(line);
    proxy("/metrics/cadvisor").shows(line);
    proxy("/metrics/cadvisor").shows("container_network_receive_bytes_total{id=\"/pod");
    proxy("/metrics").shows("bramble_agent_pods");
    proxy("/healthz").shows("ok");
    proxy("/pods").shows("\"PodList\"");
    proxy("/run/default/burn/burn").fails("the node does not serve this path");
    cluster.k("get --raw /api/v1/nodes/none/proxy/healthz").fails("nodes \"none\" not found");
    cluster.k("get pods.metrics.k8s.io burn -o jsonpath={.containers[0].name}").shows("burn");
    cluster.k("get pods.metrics.k8s.io none").fails("not found");
    cluster.k(&format!("get --raw /api/v1/nodes/{node}/proxy/metrics --as=bob")).fails("forbidden");
    cluster.k("top pods --as=bob").fails("forbidden");
    // Who may view a namespace may see what its pods use.
    cluster.k("create rolebinding viewers --clusterrole=view --user=carol").ok();
    cluster.k("top pods --as=carol").shows("burn");
    cluster.k("top nodes --as=carol").fails("forbidden");
    // With a role for it, as for any other kind.
    cluster.k("create role tops --verb=get,list --resource=pods.metrics.k8s.io").ok();
    cluster.k("create rolebinding tops --role=tops --user=bob").ok();
    Said::by(&mut cluster.kubectl_command(&kubectl(), &["top", "pods", "--as=bob"])).shows("burn");
}
