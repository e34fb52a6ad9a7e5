//! Who may do what: a table, tried over HTTPS with real certificates and tokens.

use std::sync::Arc;

use crate::server::{Authority, Server};
use bytes::Bytes;
use control_api::resource::{CLUSTER_ROLE_BINDINGS, NAMESPACES, NODES, ROLE_BINDINGS, SERVICE_ACCOUNTS};
use control_pki::AccountKey;
use control_pki::account_token::{Account, Bound, Claims, ISSUER, now_seconds};
use control_store::Key;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, date_time_ymd};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How a request shows who it is of.
enum Shown {
    Nothing,
    Certificate(CertificateDer<'static>, PrivateKeyDer<'static>),
    Token(String),
}

impl Shown {
    fn certificate(authority: &Authority, name: &str, group: &str) -> Self {
        let (_, _, certificate, key) = authority.issue(name, group, &[]);
        Self::Certificate(certificate, key)
    }
}

/// What each user tries, in the order of the table's columns. Nothing of it changes anything.
fn deeds() -> Vec<(&'static str, Method, &'static str, Value)> {
    let rbac = "rbac.authorization.k8s.io/v1";
    let cluster_admin =
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"});
    let anyone = json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "anyone"}]);
    let access = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}}});
    vec![
        ("list pods", Method::GET, "/api/v1/namespaces/default/pods", Value::Null),
        ("elsewhere", Method::GET, "/api/v1/namespaces/other/pods", Value::Null),
        (
            "write",
            Method::POST,
            "/api/v1/namespaces/default/configmaps?dryRun=All",
            json!({"metadata": {"name": "new"}}),
        ),
        ("secrets", Method::GET, "/api/v1/namespaces/default/secrets", Value::Null),
        (
            "grant role",
            Method::POST,
            "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles?dryRun=All",
            json!({"apiVersion": rbac, "kind": "Role", "metadata": {"name": "reader"},
                "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}),
        ),
        (
            "grant all",
            Method::POST,
            "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings?dryRun=All",
            json!({"metadata": {"name": "all"}, "roleRef": cluster_admin, "subjects": anyone}),
        ),
        ("nodes", Method::GET, "/api/v1/nodes", Value::Null),
        ("own node", Method::GET, "/api/v1/nodes/one", Value::Null),
        ("drop namespace", Method::DELETE, "/api/v1/namespaces/other?dryRun=All", Value::Null),
        ("token", Method::POST, "/api/v1/namespaces/default/serviceaccounts/default/token", json!({"spec": {}})),
        ("may I", Method::POST, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", access.clone()),
        (
            "may they",
            Method::POST,
            "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            json!({"spec": {"user": "ann", "resourceAttributes": access["spec"]["resourceAttributes"]}}),
        ),
        (
            "may they here",
            Method::POST,
            "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews",
            json!({"spec": {"user": "ann", "resourceAttributes": access["spec"]["resourceAttributes"]}}),
        ),
        ("whose token", Method::POST, "/apis/authentication.k8s.io/v1/tokenreviews", json!({"spec": {"token": "x"}})),
        ("version", Method::GET, "/version", Value::Null),
        ("metrics", Method::GET, "/metrics", Value::Null),
        ("ready", Method::GET, "/readyz", Value::Null),
    ]
}

/// `y` done, `n` forbidden, `u` not known, `x` no connection.
async fn code(server: &Server, shown: &Shown, deed: &(&str, Method, &str, Value)) -> (char, String) {
    let builder = rustls::ClientConfig::builder().with_root_certificates(server.authority.roots());
    let config = match shown {
        Shown::Certificate(certificate, key) => {
            builder.with_client_auth_cert(vec![certificate.clone()], key.clone_key()).unwrap()
        }
        _ => builder.with_no_client_auth(),
    };
    let tcp = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    let name = "localhost".try_into().unwrap();
    let Ok(tls) = TlsConnector::from(Arc::new(config)).connect(name, tcp).await else { return ('x', String::new()) };
    let Ok((mut sender, connection)) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await else {
        return ('x', String::new());
    };
    tokio::spawn(connection);
    let (_, method, path, body) = deed;
    let mut request = Request::builder().method(method).uri(*path).header("host", "localhost");
    if let Shown::Token(token) = shown {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let request = request.header("content-type", "application/json").body(Full::new(body)).unwrap();
    let Ok(response) = sender.send_request(request).await else { return ('x', String::new()) };
    let status = response.status();
    let said = response.into_body().collect().await.unwrap().to_bytes();
    let letter = match status.as_u16() {
        200..=299 => 'y',
        403 => 'n',
        401 => 'u',
        other => panic!("{method} {path}: {other} {}", String::from_utf8_lossy(&said)),
    };
    (letter, String::from_utf8_lossy(&said).into_owned())
}

async fn bind(server: &Server, namespace: &str, role: &str, subject: Value) {
    let resource = if namespace.is_empty() { &CLUSTER_ROLE_BINDINGS } else { &ROLE_BINDINGS };
    let object = json!({
        "metadata": {"generateName": "given-"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    });
    server.create(resource, namespace, object).await;
}

fn user(name: &str) -> Value {
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name})
}

/// The claims of a good token of the account `default/viewer`.
fn claims(server: &Server) -> Claims {
    let key = Key::new(&SERVICE_ACCOUNTS, "default", "viewer");
    let uid = server.api.store().get(&key).unwrap().meta.uid.clone();
    let now = now_seconds();
    Claims {
        aud: vec![ISSUER.to_owned()],
        exp: now + 600,
        iat: now,
        nbf: now,
        iss: ISSUER.to_owned(),
        sub: "system:serviceaccount:default:viewer".to_owned(),
        kubernetes: Account {
            namespace: "default".to_owned(),
            serviceaccount: Bound { name: "viewer".to_owned(), uid },
            ..Account::default()
        },
        ..Claims::default()
    }
}

/// Everyone who tries, with what the table must say of them.
fn people(server: &Server) -> Vec<(&'static str, Shown, &'static str)> {
    let good = claims(server);
    let by = |name: &str, group: &str| Shown::certificate(&server.authority, name, group);
    let signed = |claims: &Claims| Shown::Token(server.account_key.sign(claims).unwrap());
    let stranger = AccountKey::generate().unwrap();
    let other_ca = Authority::new();
    let dated = |from: i32, to: i32| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        let (_, _, certificate, key) = server.authority.issue_as("admin", "system:masters", params);
        Shown::Certificate(certificate, key)
    };
    let token = server.account_key.sign(&good).unwrap();
    let forged = format!("{}{}", &token[..token.len() - 4], if token.ends_with("AAAA") { "BBBB" } else { "AAAA" });
    let (past, later) = (now_seconds() - 3600, now_seconds() + 3600);
    let mut replaced = good.clone();
    replaced.kubernetes.serviceaccount.uid = "another".to_owned();
    let mut renamed = good.clone();
    renamed.sub = "system:serviceaccount:kube-system:admin".to_owned();
    vec![
        ("system:masters", by("admin", "system:masters"), "yyyyyyyyyyyyyyyyy"),
        ("cluster-admin", by("root", "ops"), "yyyyyyyyyyyyyyyyy"),
        ("admin", by("lead", "ops"), "ynyyynnnnyynynyny"),
        ("edit", by("dev", "ops"), "ynyynnnnnyynnnyny"),
        ("view", by("guest", "ops"), "ynnnnnnnnnynnnyny"),
        ("no role", by("nobody", "ops"), "nnnnnnnnnnynnnyny"),
        ("its node", by("system:node:one", "system:nodes"), "nnnnnnnynnyyyyyny"),
        ("another node", by("system:node:two", "system:nodes"), "nnnnnnnnnnyyyyyny"),
        ("not a node", by("one", "system:nodes"), "nnnnnnnnnnynnnyny"),
        ("account", signed(&good), "ynnnnnnnnnynnnyny"),
        ("anonymous", Shown::Nothing, "nnnnnnnnnnnnnnyny"),
        ("certificate of another CA", Shown::certificate(&other_ca, "admin", "system:masters"), "xxxxxxxxxxxxxxxxx"),
        ("certificate that ended", dated(2001, 2002), "xxxxxxxxxxxxxxxxx"),
        ("certificate of the future", dated(3001, 3002), "xxxxxxxxxxxxxxxxx"),
        ("expired token", signed(&Claims { exp: past, ..good.clone() }), "uuuuuuuuuuuuuuuuu"),
        // A clock that went back, as a Pi's does when it starts, must not lock pods out: only this server signs.
        ("token that begins later", signed(&Claims { nbf: later, ..good.clone() }), "ynnnnnnnnnynnnyny"),
        ("token for others", signed(&Claims { aud: vec!["vault".into()], ..good.clone() }), "uuuuuuuuuuuuuuuuu"),
        ("token for nobody", signed(&Claims { aud: Vec::new(), ..good.clone() }), "uuuuuuuuuuuuuuuuu"),
        ("other issuer", signed(&Claims { iss: "https://other".into(), ..good.clone() }), "uuuuuuuuuuuuuuuuu"),
        ("other key", Shown::Token(stranger.sign(&good).unwrap()), "uuuuuuuuuuuuuuuuu"),
        ("forged", Shown::Token(forged), "uuuuuuuuuuuuuuuuu"),
        ("account made anew", signed(&replaced), "uuuuuuuuuuuuuuuuu"),
        ("token of two accounts", signed(&renamed), "uuuuuuuuuuuuuuuuu"),
        ("no token", Shown::Token("eyJhbGciOiJub25lIn0.e30.".to_owned()), "uuuuuuuuuuuuuuuuu"),
        ("huge token", Shown::Token("a".repeat(32 << 10)), "uuuuuuuuuuuuuuuuu"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_do_what() {
    let server = Server::start().await;
    server.create(&NAMESPACES, "", json!({"metadata": {"name": "other"}})).await;
    server.create(&NODES, "", json!({"metadata": {"name": "one"}})).await;
    server.create(&SERVICE_ACCOUNTS, "default", json!({"metadata": {"name": "viewer"}})).await;
    bind(&server, "", "cluster-admin", user("root")).await;
    bind(&server, "default", "admin", user("lead")).await;
    bind(&server, "default", "edit", user("dev")).await;
    bind(&server, "default", "view", user("guest")).await;
    bind(&server, "default", "view", json!({"kind": "ServiceAccount", "name": "viewer"})).await;
    let deeds = deeds();
    let before = server.api.store().revision();
    let mut wrong = Vec::new();
    for (who, shown, wanted) in people(&server) {
        assert_eq!(wanted.len(), deeds.len());
        for (deed, wanted) in deeds.iter().zip(wanted.chars()) {
            let (found, said) = code(&server, &shown, deed).await;
            if found != wanted {
                wrong.push(format!("{who}: {}: {found} for {wanted}: {said}", deed.0));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(server.api.store().revision(), before, "the table changed something");
}
