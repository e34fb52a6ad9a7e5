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

pub(super) fn probes(container: &Value, path: &str, wrong: &mut Errors) {
    for key in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = get(container, &format!("/{key}")) else { continue };
        let path = format!("{path}.{key}");
        handler(probe, &path, &PROBE_HANDLERS, wrong);
        NUMBERS.iter().for_each(|number| not_negative(probe, &path, number, wrong));
        let successes = integer(probe, "/successThreshold").unwrap_or(1);
        if key != "readinessProbe" && successes != 1 {
            wrong.push(FieldError::invalid(format!("{path}.successThreshold"), &json!(successes), "must be 1"));
        }
    }
    for key in ["postStart", "preStop"] {
        if let Some(hook) = get(container, &format!("/lifecycle/{key}")) {
            handler(hook, &format!("{path}.lifecycle.{key}"), &HOOK_HANDLERS, wrong);
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
