//! Probes and lifecycle hooks of a container.

use serde_json::{Value, json};

use crate::field::FieldError;
use crate::name;
use crate::object::{get, integer, list, text};

use super::check::{Errors, chosen, not_negative, one_of};
use super::port::PORT_MAX;

const PROBE_HANDLERS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "grpc"];
const HOOK_HANDLERS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "sleep"];
const NUMBERS: [&str; 5] =
    ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"];

/// Seconds that a pod's containers have to end; hooks count into them.
const GRACE_SECONDS: i64 = 30;

pub(super) fn probes(container: &Value, path: &str, spec: &Value, wrong: &mut Errors) {
    for key in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = get(container, &format!("/{key}")) else { continue };
        let path = format!("{path}.{key}");
        handler(probe, &path, &PROBE_HANDLERS, wrong);
        NUMBERS.iter().for_each(|number| not_negative(probe, &path, number, wrong));
        let successes = integer(probe, "/successThreshold").unwrap_or(1);
        if key != "readinessProbe" && successes != 1 {
            wrong.push(FieldError::invalid(format!("{path}.successThreshold"), &json!(successes), "must be 1"));
        }
        if let Some(seconds) = get(probe, "/terminationGracePeriodSeconds") {
            let field = format!("{path}.terminationGracePeriodSeconds");
            if key == "readinessProbe" {
                wrong.push(FieldError::invalid(field, seconds, "must not be set for readinessProbes"));
            } else if seconds.as_i64().is_some_and(|seconds| seconds <= 0) {
                wrong.push(FieldError::invalid(field, seconds, "must be greater than 0"));
            }
        }
    }
    stop_signal(container, path, spec, wrong);
    for key in ["postStart", "preStop"] {
        if let Some(hook) = get(container, &format!("/lifecycle/{key}")) {
            let path = format!("{path}.lifecycle.{key}");
            handler(hook, &path, &HOOK_HANDLERS, wrong);
            sleep(hook, &path, spec, wrong);
        }
    }
}

/// As programs on Linux know them.
const STOP_SIGNALS: [&str; 16] = [
    "SIGABRT", "SIGALRM", "SIGBUS", "SIGFPE", "SIGHUP", "SIGILL", "SIGINT", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSEGV",
    "SIGTERM", "SIGTRAP", "SIGUSR1", "SIGUSR2", "SIGWINCH",
];

fn stop_signal(container: &Value, path: &str, spec: &Value, wrong: &mut Errors) {
    if get(container, "/lifecycle/stopSignal").is_none() {
        return;
    }
    if text(spec, "/os/name").is_empty() {
        let why = "may not be set for containers with empty `spec.os.name`";
        wrong.push(FieldError::forbidden(format!("{path}.lifecycle.stopSignal"), why));
    } else {
        one_of(&container["lifecycle"], &format!("{path}.lifecycle"), "stopSignal", &STOP_SIGNALS, wrong);
    }
}

fn sleep(hook: &Value, path: &str, spec: &Value, wrong: &mut Errors) {
    if get(hook, "/sleep").is_none() {
        return;
    }
    let seconds = integer(hook, "/sleep/seconds").unwrap_or(0);
    let grace_seconds = integer(spec, "/terminationGracePeriodSeconds").unwrap_or(GRACE_SECONDS);
    if !(0..=grace_seconds).contains(&seconds) {
        let why = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace_seconds})");
        wrong.push(FieldError::invalid(format!("{path}.sleep"), &json!(seconds), why));
    }
}

fn headers(handler: &Value, path: &str, wrong: &mut Errors) {
    for (at, header) in list(handler, "/httpHeaders").iter().enumerate() {
        let header_name = text(header, "/name");
        let token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if header_name.is_empty() || !header_name.bytes().all(token) {
            let why = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex \
                       used for validation is '[-A-Za-z0-9]+')";
            wrong.push(FieldError::invalid(format!("{path}.httpHeaders[{at}].name"), &json!(header_name), why));
        }
    }
}

fn handler(owner: &Value, path: &str, kinds: &[&str], wrong: &mut Errors) {
    let found = chosen(owner, kinds);
    let Some((first, others)) = found.split_first() else {
        wrong.push(FieldError::required(path, "must specify a handler type"));
        return;
    };
    for other in others {
        wrong.push(FieldError::forbidden(format!("{path}.{other}"), "may not specify more than 1 handler type"));
    }
    let (handler, path) = (&owner[*first], format!("{path}.{first}"));
    match *first {
        "exec" if list(handler, "/command").is_empty() => {
            wrong.push(FieldError::required(format!("{path}.command"), ""));
        }
        "httpGet" => {
            one_of(handler, &path, "scheme", &["HTTP", "HTTPS"], wrong);
            port(handler, &path, wrong);
            headers(handler, &path, wrong);
        }
        "tcpSocket" | "grpc" => port(handler, &path, wrong),
        _ => {}
    }
}

fn port(handler: &Value, path: &str, wrong: &mut Errors) {
    let field = format!("{path}.port");
    match get(handler, "/port") {
        Some(Value::String(_)) => {
            let port_name = text(handler, "/port");
            for why in name::port_name(port_name) {
                wrong.push(FieldError::invalid(&field, &json!(port_name), why));
            }
        }
        number => {
            let number = number.and_then(Value::as_i64).unwrap_or(0);
            if !(1..=PORT_MAX).contains(&number) {
                let why = format!("must be between 1 and {PORT_MAX}, inclusive");
                wrong.push(FieldError::invalid(field, &json!(number), why));
            }
        }
    }
}
