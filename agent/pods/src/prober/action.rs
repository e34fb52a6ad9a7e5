//! An `httpGet` as the request that is sent.

use control_api::view::core::HTTPGetAction;

use super::Target;
use super::address;
use super::http::{Request, Url};

/// The API level that is advertised, as the kubelet puts it into its User-Agent.
const LEVEL: &str = "1.35";

pub(super) fn request(get: &HTTPGetAction, target: &Target<'_>, purpose: &str) -> Result<Request, String> {
    let port = address::port(&get.port, target.container)?;
    let host = get.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(target.pod_ip);
    let https = get.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
    let url = Url::new(https, host, port, get.path.as_deref().unwrap_or_default());
    let mut headers: Vec<(String, String)> = Vec::new();
    let mut named_host = None;
    for header in get.http_headers.iter().flatten() {
        match header.name.to_ascii_lowercase().as_str() {
            "host" => named_host = Some(header.value.clone()).filter(|host| !host.is_empty()),
            _ => headers.push((header.name.clone(), header.value.clone())),
        }
    }
    let has = |name: &str| headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
    let (has_agent, has_accept) = (has("user-agent"), has("accept"));
    if !has_agent {
        headers.push(("User-Agent".to_owned(), format!("kube-{purpose}/{LEVEL}")));
    }
    if has_accept {
        headers.retain(|(name, value)| !name.eq_ignore_ascii_case("accept") || !value.is_empty());
    } else {
        headers.push(("Accept".to_owned(), "*/*".to_owned()));
    }
    Ok(Request { url, host: named_host, headers })
}
