//! Unmodified kubectl on Services, Jobs, DaemonSets, volumes, policies and roles.

use crate::server::Server;

const VERSIONS: [&str; 2] = ["1.30", "newest"];

const KINDS: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web}}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: Endpoints
metadata: {name: manual}
subsets: [{addresses: [{ip: 192.168.9.9}], ports: [{port: 80, protocol: TCP}]}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: manual-1, labels: {kubernetes.io/service-name: manual}}
addressType: IPv4
endpoints: [{addresses: [192.168.9.9], conditions: {ready: true}}]
ports: [{name: "", port: 80, protocol: TCP}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed}
spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      containers: [{name: main, image: "busybox:1"}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: "busybox:1", command: [sleep, "1"]}]
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: disk, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: example.com/disk
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: volume}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  hostPath: {path: /tmp/volume}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: claim}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: readers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: default, namespace: default}]
"#;

/// The words of the first line after the header.
fn row(table: &str) -> Vec<&str> {
    table.lines().nth(1).unwrap_or_default().split_whitespace().collect()
}

fn header(table: &str) -> Vec<&str> {
    table.lines().next().unwrap_or_default().split_whitespace().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_is_applied_shown_and_described() {
    for version in VERSIONS {
        let server = Server::start().await;
        server.write("kinds.yaml", KINDS);
        let applied = server.run(version, "apply -f kinds.yaml").await;
        assert_eq!(applied.lines().filter(|line| line.ends_with("created")).count(), 11, "{applied}");
        let applied = server.run(version, "apply -f kinds.yaml").await;
        assert_eq!(applied.lines().filter(|line| line.ends_with("unchanged")).count(), 11, "{applied}");
        let table = server.run(version, "get svc web -o wide").await;
        let columns = ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE", "SELECTOR"];
        assert_eq!(header(&table), columns);
        let cells = row(&table);
        assert_eq!(
            (cells[0], cells[1], cells[3], cells[4], cells[6]),
            ("web", "ClusterIP", "<none>", "80/TCP", "app=web")
        );
        assert_eq!(row(&server.run(version, "get endpoints manual").await)[1], "192.168.9.9:80");
        assert_eq!(
            row(&server.run(version, "get endpointslices").await)[..4],
            ["manual-1", "IPv4", "80", "192.168.9.9"]
        );
        assert_eq!(row(&server.run(version, "get netpol").await)[..2], ["closed", "app=web"]);
        assert_eq!(row(&server.run(version, "get ds").await)[..2], ["agent", "0"]);
        assert_eq!(row(&server.run(version, "get jobs").await)[..3], ["once", "Running", "0/1"]);
        assert_eq!(row(&server.run(version, "get sc").await)[..3], ["disk", "(default)", "example.com/disk"]);
        let cells = ["volume", "1Gi", "RWO", "Retain", "Pending"];
        assert_eq!(row(&server.run(version, "get pv").await)[..5], cells);
        let table = server.run(version, "get pvc").await;
        // The default class was filled in.
        assert!(row(&table)[..2] == ["claim", "Pending"] && table.contains("disk"), "{table}");
        assert_eq!(header(&server.run(version, "get roles").await), ["NAME", "CREATED", "AT"]);
        assert_eq!(row(&server.run(version, "get rolebindings").await)[..2], ["readers", "Role/reader"]);
        for what in
            ["svc/web", "ep/manual", "netpol/closed", "ds/agent", "job/once", "pv/volume", "pvc/claim", "sc/disk"]
        {
            let said = server.run(version, &format!("describe {what}")).await;
            assert!(said.contains("Name:"), "{what}: {said}");
        }
        assert!(server.run(version, "describe role/reader").await.contains("pods"));
        let all = server.run(version, "get all").await;
        for name in ["service/web", "daemonset.apps/agent", "job.batch/once"] {
            assert!(all.contains(name), "{all}");
        }
        assert!(server.run(version, "get jobs --field-selector=status.successful=0").await.contains("once"));
        let resources = server.run(version, "api-resources --no-headers").await;
        for (group, field) in [
            ("services", "spec.clusterIP"),
            ("jobs", "spec.completionMode"),
            ("daemonsets", "spec.updateStrategy"),
            ("endpointslices", "endpoints"),
            ("networkpolicies", "spec.podSelector"),
            ("rolebindings", "roleRef"),
            ("storageclasses", "provisioner"),
            ("persistentvolumeclaims", "spec.storageClassName"),
        ] {
            assert!(resources.lines().any(|line| line.starts_with(group)), "{group}: {resources}");
            let explained = server.run(version, &format!("explain {group}.{field}")).await;
            assert!(explained.contains("FIELD"), "{group}.{field}: {explained}");
        }
        server.run(version, "delete -f kinds.yaml --cascade=background --wait=false").await;
        assert!(server.fails(version, "get svc web").await.contains("(NotFound)"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_creates_exposes_and_changes_services() {
    for version in VERSIONS {
        let server = Server::start().await;
        let run = |line: &'static str| server.run(version, line);
        run("create service clusterip plain --tcp=80:8080").await;
        run("create service clusterip headless --clusterip=None --tcp=80").await;
        run("create service nodeport outside --tcp=80 --node-port=30123").await;
        run("create service loadbalancer balanced --tcp=80").await;
        run("create service externalname named --external-name=example.com").await;
        assert_eq!(run("get svc plain -o jsonpath={.spec.ports[0].targetPort}").await, "8080");
        assert_eq!(run("get svc headless -o jsonpath={.spec.clusterIP}").await, "None");
        let table = run("get svc outside balanced named").await;
        for text in ["80:30123/TCP", "<pending>", "example.com"] {
            assert!(table.contains(text), "{table}");
        }
        let refused = server.fails(version, "create service nodeport other --tcp=80 --node-port=30123").await;
        assert!(refused.contains("provided port is already allocated"), "{refused}");
        let refused = server.fails(version, "create service clusterip Bad --tcp=80").await;
        assert!(refused.contains("a DNS-1035 label must consist of"), "{refused}");
        run("create deployment web --image=nginx:1 --port=80").await;
        run("expose deployment web --port=8080 --target-port=80 --type=NodePort").await;
        assert_eq!(run("get svc web -o jsonpath={.spec.selector.app}").await, "web");
        assert!(run("describe svc web").await.contains("NodePort:"));
        run("set selector svc/plain app=other").await;
        assert_eq!(run("get svc plain -o jsonpath={.spec.selector.app}").await, "other");
        run("label svc plain tier=front").await;
        assert!(run("get svc -l tier=front --no-headers").await.starts_with("plain"));
        run("patch svc plain -p {\"spec\":{\"type\":\"NodePort\"}}").await;
        assert!(run("get svc plain --no-headers").await.contains("NodePort"));
        let merged =
            "patch svc plain --type=json -p [{\"op\":\"replace\",\"path\":\"/spec/type\",\"value\":\"ClusterIP\"}]";
        run(merged).await;
        assert_eq!(run("get svc plain -o jsonpath={.spec.ports[0].nodePort}").await, "");
        assert!(run("get svc --field-selector spec.type=ExternalName --no-headers").await.starts_with("named"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_edits_a_service_and_creates_jobs_and_roles() {
    let version = "1.33";
    let server = Server::start().await;
    let run = |line: &'static str| server.run(version, line);
    run("create service clusterip plain --tcp=80").await;
    let mut edit = server.kubectl(version);
    edit.args(["edit", "svc", "plain"])
        .env("KUBE_EDITOR", "sed -i s/sessionAffinity:.None/sessionAffinity:\\ ClientIP/");
    assert!(edit.output().await.unwrap().status.success());
    assert_eq!(run("get svc plain -o jsonpath={.spec.sessionAffinityConfig.clientIP.timeoutSeconds}").await, "10800");
    run("create job hello --image=busybox:1 -- echo hello").await;
    assert_eq!(run("get job hello -o jsonpath={.spec.template.metadata.labels.job-name}").await, "hello");
    let uid = run("get job hello -o jsonpath={.metadata.uid}").await;
    let selector =
        run("get job hello -o jsonpath={.spec.selector.matchLabels.batch\\.kubernetes\\.io/controller-uid}").await;
    assert_eq!(selector, uid);
    let refused = server.fails(version, "patch job hello -p {\"spec\":{\"completions\":5}}").await;
    assert!(refused.contains("spec.completions: Invalid value: 5: field is immutable"), "{refused}");
    run("create role reader --verb=get --resource=pods").await;
    run("create rolebinding readers --role=reader --user=jane").await;
    run("create clusterrole lister --verb=list --resource=nodes").await;
    run("create clusterrolebinding listers --clusterrole=lister --group=all").await;
    let cells = row(&run("get clusterrolebinding listers -o wide").await).join(" ");
    assert!(cells.starts_with("listers ClusterRole/lister") && cells.ends_with("all"), "{cells}");
}
