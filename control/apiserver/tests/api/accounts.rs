//! ServiceAccounts' tokens, reviews and impersonation, tried by unmodified kubectl.

use crate::server::Server;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control_api::resource::PODS;
use serde_json::{Value, json};

const VERSION: &str = "1.33";

fn claims(token: &str) -> Value {
    let part = token.trim().split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

async fn with_token(server: &Server, token: &str, line: &str) -> String {
    let output = server.output_with_token(VERSION, token.trim(), line).await;
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accounts_token_is_the_account_until_the_account_goes() {
    let server = Server::start().await;
    server.run(VERSION, "create serviceaccount app").await;
    server.run(VERSION, "create rolebinding app --clusterrole=view --serviceaccount=default:app").await;
    let token = server.run(VERSION, "create token app --duration=1h").await;
    let told = claims(&token);
    assert_eq!(told["sub"], "system:serviceaccount:default:app");
    assert_eq!(told["aud"], json!(["https://kubernetes.default.svc.cluster.local"]));
    assert_eq!(told["exp"].as_u64().unwrap() - told["iat"].as_u64().unwrap(), 3600);
    assert_eq!(told["kubernetes.io"]["serviceaccount"]["name"], "app");
    let whoami = with_token(&server, &token, "auth whoami").await;
    assert!(whoami.contains("system:serviceaccount:default:app"), "{whoami}");
    assert!(whoami.contains("system:serviceaccounts:default") && whoami.contains("JTI="), "{whoami}");
    let pods = with_token(&server, &token, "get pods").await;
    assert!(pods.contains("No resources found"), "{pods}");
    let refused = with_token(&server, &token, "get secrets").await;
    assert!(
        refused.contains("User \"system:serviceaccount:default:app\" cannot list resource \"secrets\""),
        "{refused}"
    );
    // Another account of the same name is not the same account.
    server.run(VERSION, "delete serviceaccount app").await;
    server.run(VERSION, "create serviceaccount app").await;
    let gone = with_token(&server, &token, "get pods").await;
    assert!(gone.contains("Unauthorized") || gone.contains("logged in"), "{gone}");
    let fresh = server.run(VERSION, "create token app").await;
    assert!(with_token(&server, &fresh, "get pods").await.contains("No resources found"));
    // Meant for somebody else, it opens nothing here.
    let vault = server.run(VERSION, "create token app --audience=vault").await;
    let gone = with_token(&server, &vault, "get pods").await;
    assert!(gone.contains("Unauthorized") || gone.contains("logged in"), "{gone}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bound_token_dies_with_its_pod() {
    let server = Server::start().await;
    let pod = json!({"metadata": {"name": "one"}, "spec": {"containers": [{"name": "main", "image": "a:1"}]}});
    server.create(&PODS, "default", pod).await;
    let token = server.run(VERSION, "create token default --bound-object-kind=Pod --bound-object-name=one").await;
    assert_eq!(claims(&token)["kubernetes.io"]["pod"]["name"], "one");
    let whoami = with_token(&server, &token, "auth whoami").await;
    assert!(whoami.contains("authentication.kubernetes.io/pod-name"), "{whoami}");
    server.run(VERSION, "create serviceaccount other").await;
    let line = "create token other --bound-object-kind=Pod --bound-object-name=one";
    let refused = server.fails(VERSION, line).await;
    assert!(
        refused.contains("cannot bind token for serviceaccount \"other\" to pod running with different"),
        "{refused}"
    );
    server.run(VERSION, "delete pod one").await;
    let gone = with_token(&server, &token, "auth whoami").await;
    assert!(gone.contains("Unauthorized") || gone.contains("logged in"), "{gone}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_requests_for_tokens_are_refused_in_kubernetes_words() {
    let server = Server::start().await;
    for (line, words) in [
        ("create token nobody", "serviceaccounts \"nobody\" not found"),
        ("create token default --duration=1m", "may not specify a duration less than 10 minutes"),
        ("create token default --bound-object-kind=Pod --bound-object-name=x", "pods \"x\" not found"),
        (
            "create token default --bound-object-kind=Pod --bound-object-name=x --bound-object-uid=y",
            "pods \"x\" not found",
        ),
    ] {
        let refused = server.fails(VERSION, line).await;
        assert!(refused.contains(words), "{line}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn can_i_whoami_and_as_answer_what_would_happen() {
    let server = Server::start().await;
    for version in ["1.30", "newest"] {
        assert_eq!(server.run(version, "auth can-i create deployments").await, "yes\n");
        let output = server.output(version, "auth can-i get pods --as=ann").await;
        assert_eq!(String::from_utf8_lossy(&output.stdout), "no\n");
        server.run(version, "create rolebinding ann --clusterrole=edit --user=ann").await;
        assert_eq!(server.run(version, "auth can-i get pods --as=ann").await, "yes\n");
        assert_eq!(server.run(version, "auth can-i create pods/exec --as=ann").await, "yes\n");
        let list = server.run(version, "auth can-i --list --as=ann").await;
        assert!(list.contains("deployments.apps") && list.contains("selfsubjectreviews"), "{list}");
        let whoami = server.run(version, "auth whoami --as=ann --as-group=dev").await;
        assert!(
            whoami.contains("ann") && whoami.contains("dev") && whoami.contains("system:authenticated"),
            "{whoami}"
        );
        server.run(version, "get pods --as=ann").await;
        let refused = server.fails(version, "get nodes --as=ann").await;
        assert!(refused.contains("User \"ann\" cannot list resource \"nodes\""), "{refused}");
        server.run(version, "delete rolebinding ann").await;
    }
    let bob = server.flags("bob", "ops");
    let refused = server.fails(VERSION, &format!("get pods --as=ann {bob}")).await;
    assert!(
        refused.contains(
            "users \"ann\" is forbidden: User \"bob\" cannot impersonate resource \"users\" in API group \"\" at the \
             cluster scope"
        ),
        "{refused}"
    );
    server.run(VERSION, "create clusterrole as-ann --verb=impersonate --resource=users --resource-name=ann").await;
    server.run(VERSION, "create clusterrolebinding bob --clusterrole=as-ann --user=bob").await;
    assert!(server.run(VERSION, &format!("auth whoami --as=ann {bob}")).await.contains("ann"));
    let refused = server.fails(VERSION, &format!("get pods --as=ann --as-group=system:masters {bob}")).await;
    assert!(refused.contains("groups \"system:masters\" is forbidden"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reviews_are_answered_and_never_stored() {
    let server = Server::start().await;
    let token = server.run(VERSION, "create token default").await;
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token.trim()},
    });
    server.write("review.json", &review.to_string());
    let answer = server.run(VERSION, "create -f review.json -o json --validate=false").await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["status"]["authenticated"], true);
    assert_eq!(answer["status"]["user"]["username"], "system:serviceaccount:default:default");
    let access = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"user": "ann", "groups": ["system:masters"], "resourceAttributes": {"verb": "get", "resource": "pods"}},
    });
    server.write("access.json", &access.to_string());
    let answer = server.run(VERSION, "create -f access.json -o json --validate=false").await;
    assert_eq!(serde_json::from_str::<Value>(&answer).unwrap()["status"]["allowed"], true);
    server.write("forged.json", &review.to_string().replace("eyJ", "eyX"));
    let answer = server.run(VERSION, "create -f forged.json -o json --validate=false").await;
    assert_eq!(serde_json::from_str::<Value>(&answer).unwrap()["status"].get("authenticated"), None);
    let served = server.run(VERSION, "api-resources --verbs=create -o name").await;
    assert!(served.contains("tokenreviews.authentication.k8s.io"), "{served}");
    server.fails(VERSION, "get --raw /apis/authentication.k8s.io/v1/tokenreviews").await;
    let keys = server.run(VERSION, "get --raw /openid/v1/jwks").await;
    assert!(keys.contains("\"kty\":\"EC\""), "{keys}");
    assert!(server.run(VERSION, "get --raw /.well-known/openid-configuration").await.contains("issuer"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_sees_and_changes_only_what_is_its_own() {
    let server = Server::start().await;
    for name in ["one", "two"] {
        let node = json!({"metadata": {"name": name}});
        server.create(&control_api::resource::NODES, "", node).await;
        server.run(VERSION, &format!("create secret generic of-{name} --from-literal=a=b")).await;
        let pod = json!({
            "metadata": {"name": format!("on-{name}")},
            "spec": {"nodeName": name, "containers": [{"name": "main", "image": "a:1"}],
                "volumes": [{"name": "s", "secret": {"secretName": format!("of-{name}")}}]},
        });
        server.create(&PODS, "default", pod).await;
    }
    let one = server.flags("system:node:one", "system:nodes");
    for line in [
        "get node one",
        "get pod on-one",
        "get pods --field-selector spec.nodeName=one",
        "get secret of-one",
        "label node one color=red",
        "patch pod on-one --subresource=status --type=merge -p {\"status\":{\"message\":\"x\"}}",
        "delete pod on-one --wait=false",
    ] {
        server.run(VERSION, &format!("{line} {one}")).await;
    }
    for (line, words) in [
        ("get node two", "only its own Node object"),
        ("get nodes", "only its own Node object"),
        ("get pod on-two", "no relationship found between node 'one' and this object"),
        ("get pods", "can only list/watch pods with spec.nodeName field selector"),
        ("get pods --field-selector spec.nodeName=two", "can only list/watch pods"),
        ("get secret of-two", "no relationship found between node 'one' and this object"),
        ("get secrets", "No Object name found"),
        ("patch node two -p {\"metadata\":{\"labels\":{\"a\":\"b\"}}}", "only its own Node object"),
        (
            "patch node one -p {\"spec\":{\"taints\":[{\"key\":\"a\",\"effect\":\"NoSchedule\"}]}}",
            "not allowed to modify taints",
        ),
        (
            "patch node one -p {\"metadata\":{\"labels\":{\"node-restriction.kubernetes.io/a\":\"b\"}}}",
            "is not allowed to modify the following labels: node-restriction.kubernetes.io/a",
        ),
        (
            "patch pod on-two --subresource=status --type=merge -p {\"status\":{\"message\":\"x\"}}",
            "no relationship found between node 'one' and this object",
        ),
        ("delete pod on-two", "can only delete pods with spec.nodeName set to itself"),
        (
            "create token default --bound-object-kind=Pod --bound-object-name=on-two -n kube-system",
            "no relationship found",
        ),
        ("get deployments", "cannot list resource \"deployments\""),
    ] {
        let refused = server.fails(VERSION, &format!("{line} {one}")).await;
        assert!(refused.contains(words), "{line}: {refused}");
    }
}
