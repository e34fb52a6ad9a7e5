//! Roles in force, tried by unmodified kubectl.

use crate::server::Server;

const VERSION: &str = "1.33";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_may_do_what_roles_say_and_nothing_else() {
    let server = Server::start().await;
    let ann = server.flags("ann", "dev");
    let ask = |line: &str| format!("{line} {ann}");
    let refused = server.fails(VERSION, &ask("get pods")).await;
    assert_eq!(
        refused,
        "Error from server (Forbidden): pods is forbidden: User \"ann\" cannot list resource \"pods\" in API group \"\" \
         in the namespace \"default\"\n"
    );
    server.run(VERSION, "create rolebinding dev --clusterrole=view --group=dev").await;
    server.run(VERSION, &ask("get pods")).await;
    server.run(VERSION, "create configmap conf --from-literal=a=b").await;
    assert_eq!(server.run(VERSION, &ask("get cm conf -o jsonpath={.data.a}")).await, "b");
    // A namespace lies in itself; another one does not.
    server.run(VERSION, &ask("get namespace default")).await;
    for (line, words) in [
        (
            "get namespace kube-system",
            "cannot get resource \"namespaces\" in API group \"\" in the namespace \"kube-system\"",
        ),
        ("get pods -A", "cannot list resource \"pods\" in API group \"\" at the cluster scope"),
        ("get secrets", "cannot list resource \"secrets\""),
        ("delete cm conf", "configmaps \"conf\" is forbidden: User \"ann\" cannot delete resource \"configmaps\""),
        ("create cm other", "cannot create resource \"configmaps\""),
        ("get nodes", "cannot list resource \"nodes\" in API group \"\" at the cluster scope"),
        ("get --raw /metrics", "User \"ann\" cannot get path \"/metrics\""),
    ] {
        let refused = server.fails(VERSION, &ask(line)).await;
        assert!(refused.contains("orbidden") && refused.contains(words), "{line}: {refused}");
    }
    // Taken back, it holds no more.
    server.run(VERSION, "delete rolebinding dev").await;
    server.fails(VERSION, &ask("get pods")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_of_names_subresources_and_verbs_is_held_to_them() {
    let server = Server::start().await;
    let bob = server.flags("bob", "ops");
    let ask = |line: &str| format!("{line} {bob}");
    server.run(VERSION, "create deployment web --image=x:1").await;
    server.run(VERSION, "create cm one").await;
    server.run(VERSION, "create cm two").await;
    server.run(VERSION, "create role one --verb=get,list,watch --resource=cm --resource-name=one").await;
    server.run(VERSION, "create role scaler --verb=get,update,patch --resource=deployments/scale").await;
    server.run(VERSION, "create rolebinding one --role=one --user=bob").await;
    server.run(VERSION, "create rolebinding scaler --role=scaler --user=bob").await;
    server.run(VERSION, &ask("get cm one")).await;
    server.run(VERSION, &ask("get cm --field-selector metadata.name=one")).await;
    server.fails(VERSION, &ask("get cm two")).await;
    server.fails(VERSION, &ask("get cm")).await;
    server.run(VERSION, &ask("patch deploy web --subresource=scale --type=merge -p {\"spec\":{\"replicas\":3}}")).await;
    server.fails(VERSION, &ask("get deploy web")).await;
    // A binding whose role is not there says so to whom it was meant to help.
    server.run(VERSION, "create rolebinding lost --role=lost --user=bob").await;
    let refused = server.fails(VERSION, &ask("get secrets")).await;
    assert!(refused.contains("RBAC: role.rbac.authorization.k8s.io \"lost\" not found"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_grants_more_than_they_have() {
    let server = Server::start().await;
    let eve = server.flags("eve", "lead");
    let ask = |line: &str| format!("{line} {eve}");
    server.run(VERSION, "create rolebinding lead --clusterrole=admin --group=lead").await;
    server.run(VERSION, &ask("create role reader --verb=get --resource=pods")).await;
    server.run(VERSION, &ask("create rolebinding reader --role=reader --user=joe")).await;
    let refused = server.fails(VERSION, &ask("create role nodes --verb=get,list --resource=nodes")).await;
    assert!(
        refused.contains(
            "roles.rbac.authorization.k8s.io \"nodes\" is forbidden: user \"eve\" (groups=[\"lead\" \
             \"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n\
             {APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\" \"list\"]}"
        ),
        "{refused}"
    );
    let refused = server.fails(VERSION, &ask("create rolebinding root --clusterrole=cluster-admin --user=eve")).await;
    assert!(refused.contains("not currently held"), "{refused}");
    // The verbs bind and escalate are the way around it.
    server.run(VERSION, "create role binder --verb=bind --resource=clusterroles --resource-name=cluster-admin").await;
    server.run(VERSION, "create rolebinding binder --role=binder --user=eve").await;
    server.run(VERSION, &ask("create rolebinding root --clusterrole=cluster-admin --user=joe")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn default_roles_are_there_and_a_start_mends_them() {
    let server = Server::start().await;
    let names = server.run(VERSION, "get clusterroles -o name").await;
    for name in ["cluster-admin", "admin", "edit", "view", "system:discovery", "system:node", "system:basic-user"] {
        assert!(names.contains(&format!("clusterrole.rbac.authorization.k8s.io/{name}\n")), "{name} in {names}");
    }
    server.run(VERSION, "patch clusterrole system:basic-user --type=merge -p {\"rules\":[]}").await;
    server.run(VERSION, "delete clusterrolebinding system:discovery").await;
    server
        .run(
            VERSION,
            "annotate clusterrole system:discovery rbac.authorization.kubernetes.io/autoupdate=false --overwrite",
        )
        .await;
    server.run(VERSION, "patch clusterrole system:discovery --type=merge -p {\"rules\":[]}").await;
    control_apiserver::bootstrap::bootstrap(&server.api).await.unwrap();
    let rules = server.run(VERSION, "get clusterrole system:basic-user -o jsonpath={.rules}").await;
    assert!(rules.contains("selfsubjectaccessreviews"), "{rules}");
    assert_eq!(server.run(VERSION, "get clusterrole system:discovery -o jsonpath={.rules}").await, "[]");
    server.run(VERSION, "get clusterrolebinding system:discovery").await;
    // A second start finds nothing to do.
    let before = server.api.store().revision();
    control_apiserver::bootstrap::bootstrap(&server.api).await.unwrap();
    assert_eq!(server.api.store().revision(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_has_no_way_round_the_check() {
    let server = Server::start().await;
    let (eve, bob) = (server.flags("eve", "lead"), server.flags("bob", "ops"));
    server.run(VERSION, "create rolebinding lead --clusterrole=admin --group=lead --user=eve").await;
    let roles = "roles,clusterroles,rolebindings,clusterrolebindings";
    server.run(VERSION, &format!("create clusterrole keeper --verb=create,get,update,patch --resource={roles}")).await;
    server.run(VERSION, "create clusterrolebinding keeper --clusterrole=keeper --user=eve").await;
    server.run(VERSION, "create clusterrole as-eve --verb=impersonate --resource=users --resource-name=eve").await;
    server.run(VERSION, "create clusterrolebinding as-eve --clusterrole=as-eve --user=bob").await;
    server.run(VERSION, "create role small --verb=get --resource=pods").await;
    server.run(VERSION, "create rolebinding small --role=small --user=joe").await;
    server.write(
        "gathers.yaml",
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: gathers}\naggregationRule:\n  \
         clusterRoleSelectors:\n  - matchLabels: {kubernetes.io/bootstrapping: rbac-defaults}\n",
    );
    let wide = r#"{"rules":[{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}]}"#;
    let by_patch = r#"[{"op":"add","path":"/rules/0/verbs/-","value":"deletecollection"},{"op":"replace","path":"/rules/0/resources/0","value":"nodes"}]"#;
    let other = r#"{"roleRef":{"name":"cluster-admin","kind":"ClusterRole"}}"#;
    for (line, words) in [
        (format!("patch role small --type=merge -p {wide} {eve}"), "not currently held"),
        (format!("patch role small --type=json -p {by_patch} {eve}"), "not currently held"),
        (format!("create clusterrole paths --verb=get --non-resource-url=/metrics {eve}"), "not currently held"),
        (format!("create -f gathers.yaml {eve}"), "must have cluster-admin privileges to use the aggregationRule"),
        (format!("create rolebinding lost --role=lost --user=eve {eve}"), "\"lost\" not found"),
        (format!("patch rolebinding small --type=merge -p {other} {eve}"), "cannot change roleRef"),
        (format!("create clusterrolebinding all --clusterrole=admin --user=eve {eve}"), "not currently held"),
        // Who acts as somebody else grants what that one has, and no more than may act.
        (format!("create role nodes --verb=get --resource=nodes --as=eve {bob}"), "user \"eve\""),
        (format!("create role small2 --verb=get --resource=pods {bob}"), "cannot create resource \"roles\""),
        (format!("get pods --as=system:admin --as-group=system:masters {bob}"), "cannot impersonate"),
        (format!("get pods --as-group=system:masters {bob}"), ""),
    ] {
        let refused = server.fails(VERSION, &line).await;
        assert!(refused.contains(words), "{line}: {refused}");
    }
    server.run(VERSION, &format!("create role mine --verb=get --resource=pods --as=eve {bob}")).await;
    // A role that gathers is written by who has all, and its rules come of its parts; escalate lifts the check.
    server.run(VERSION, "create -f gathers.yaml").await;
    server.run(VERSION, "create role lifter --verb=escalate --resource=roles --resource-name=small").await;
    server.run(VERSION, "create rolebinding lifter --role=lifter --user=eve").await;
    server.run(VERSION, &format!("patch role small --type=merge -p {wide} {eve}")).await;
    let refused = server.fails(VERSION, &format!("patch role mine --type=merge -p {wide} {eve}")).await;
    assert!(refused.contains("not currently held"), "{refused}");
}
