//! The stations of a request, in their order.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use control_api::resource::NODES;
use control_api::{Reason, Status, resource};
use futures_util::FutureExt;
use http::{Request, Response};
use hyper::body::Incoming;

use crate::api::Api;
use crate::authenticate::authenticate;
use crate::authorize::{Attributes, authorize, authorize_on};
use crate::call::User;
use crate::impersonate::impersonate;
use crate::query::Query;
use crate::respond::{self, Body};
use crate::route::{Route, Target};
use crate::selection::Selection;
use crate::{
    absent, decode, discovery, exec, forward, health, list, log, measured, node_proxy, oidc, openapi, proxy, review,
    storage, watch,
};

/// A request past authorization.
pub struct Incomer {
    pub user: User,
    pub route: Route,
    pub query: Query,
    pub http: Request<Incoming>,
}

/// Answers one request. A panic is a 500, and the connection goes on.
pub async fn handle(
    api: Arc<Api>,
    certificate: Option<Arc<User>>,
    http: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let started = Instant::now();
    let query = Query::parse(http.uri().query().unwrap_or_default());
    let route = Route::parse(http.method(), http.uri().path(), &query);
    let label = api.metrics.label(&route);
    let in_flight = api.metrics.enter();
    let answer = AssertUnwindSafe(answer(&api, certificate.as_deref(), route, query, http)).catch_unwind().await;
    let response = match answer {
        Ok(Ok(response)) => response,
        Ok(Err(status)) => respond::status(&status),
        Err(_) => {
            tracing::error!(verb = label.verb, resource = label.resource, "a request's handler panicked");
            respond::status(&Status::internal("the request could not be answered"))
        }
    };
    drop(in_flight);
    api.metrics.answered(label, response.status(), started.elapsed());
    Ok(response)
}

async fn answer(
    api: &Arc<Api>,
    certificate: Option<&User>,
    route: Route,
    query: Query,
    http: Request<Incoming>,
) -> Result<Response<Body>, Status> {
    let user = authenticate(api, certificate, http.headers())?;
    let user = impersonate(api, user, http.headers())?;
    let (named, bound_to) = Selection::narrowed(&route, &query);
    authorize_on(api, &user, &route.attributes(&named), &bound_to)?;
    upgrade(api, &user, &route)?;
    let incomer = Incomer { user, route, query, http };
    match &incomer.route.target {
        Target::Resource(at) if resource::is_review(at.resource) => {
            let at = at.clone();
            review::answer(api, &at, incomer).await
        }
        Target::Resource(at) if resource::is_measured(at.resource) => measured::answer(api, at, &incomer).await,
        Target::Resource(_) => object(api, incomer).await,
        _ => document(api, &incomer),
    }
}

/// A stream into a container is a change of it: a GET that opens one needs the verb of a POST too.
fn upgrade(api: &Api, user: &User, route: &Route) -> Result<(), Status> {
    match route.attributes("") {
        Attributes::Resource {
            verb: "get",
            group,
            resource: "pods",
            subresource: subresource @ ("exec" | "attach" | "portforward"),
            namespace,
            name,
        } => {
            let resource = "pods";
            let wanted = Attributes::Resource { verb: "create", group, resource, subresource, namespace, name };
            authorize(api, user, &wanted)
        }
        _ => Ok(()),
    }
}

/// Everything that is not an object of the store.
fn document(api: &Api, incomer: &Incomer) -> Result<Response<Body>, Status> {
    let headers = incomer.http.headers();
    if let (Target::Approve(name), "post") = (&incomer.route.target, incomer.route.verb) {
        let nodes = api.nodes().ok_or_else(not_served)?;
        return Ok(respond::value(&nodes.approve(name, incomer.query.text("fingerprint"))?));
    }
    if incomer.route.verb != "get" && incomer.route.target != Target::Unknown {
        return Err(Status::new(
            Reason::MethodNotAllowed,
            "the server does not allow this method on the requested resource",
        ));
    }
    let not_served = || absent::answer(&incomer.route.path);
    match &incomer.route.target {
        Target::Root => Ok(discovery::root()),
        Target::Health(probe) => Ok(health::answer(api, probe, &incomer.query)),
        Target::Version => Ok(discovery::version()),
        Target::Metrics => Ok(api.metrics.answer(api)),
        Target::CoreVersions => Ok(discovery::core_versions(headers)),
        Target::Groups => Ok(discovery::groups(headers)),
        Target::Group(group) => discovery::group(group),
        Target::GroupVersion(group, version) => discovery::group_version(group, version),
        Target::OidcDiscovery => Ok(oidc::discovery()),
        Target::OidcKeys => oidc::keys(api),
        Target::OpenApiV2 => Ok(openapi::v2()),
        Target::OpenApiIndex => Ok(openapi::index()),
        Target::OpenApiDocument(path) => openapi::document(path, headers),
        Target::Bramble(name) => {
            let document = api.nodes().and_then(|nodes| nodes.document(name));
            document.map(|document| respond::value(&document)).ok_or_else(not_served)
        }
        Target::Resource(_) | Target::Approve(_) | Target::Unknown => {
            let warnings: Vec<String> = absent::warning(&incomer.route.path).into_iter().collect();
            Ok(respond::warned(&not_served(), &warnings))
        }
    }
}

fn not_served() -> Status {
    Status::new(Reason::NotFound, "the server could not find the requested resource")
}

/// Reads are answered from memory; writes become a [`crate::Call`].
async fn object(api: &Arc<Api>, incomer: Incomer) -> Result<Response<Body>, Status> {
    let Target::Resource(at) = incomer.route.target.clone() else { return Err(not_served()) };
    match (incomer.route.verb, at.subresource.as_str()) {
        ("get" | "create", "exec") => exec::answer(api, &at, incomer).await,
        ("get" | "create", "attach") => exec::attach(api, &at, incomer).await,
        ("get" | "create", "portforward") => forward::answer(api, &at, incomer).await,
        (_, "proxy") if at.resource == &NODES => node_proxy::answer(api, &at, &incomer).await,
        (_, "proxy") => proxy::answer(api, &at, incomer).await,
        ("get", "log") => log::answer(api, &at, &incomer.query).await,
        ("get", _) => list::get(api, &at, &incomer),
        ("list", _) if incomer.query.flag("watch") => watch::answer(api, &at, &incomer),
        ("list", _) => list::list(api, &at, &incomer),
        ("watch", _) => watch::answer(api, &at, &incomer),
        ("deletecollection", _) => storage::collection::answer(api, &at, incomer).await,
        ("create" | "update" | "patch" | "delete", _) => {
            let shape = crate::negotiate::Shape::of(incomer.http.headers(), &incomer.query);
            let call = decode::call(at, incomer).await?;
            respond::reply(api.call(call).await?, shape)
        }
        (verb, _) => {
            let message = format!("the server does not allow this method on the requested resource: {verb}");
            Err(Status::new(Reason::MethodNotAllowed, message))
        }
    }
}
