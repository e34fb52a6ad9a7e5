//! Addresses of Services and their families. The cluster gives out IPv4 addresses only.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::field::FieldError;
use crate::ip;
use crate::object::{list, text};
use crate::service::{HEADLESS, IPV4, is_headless, needs_cluster_ip, selectorless};

use super::super::check::{Errors, one_of};

const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];
const FAMILY_POLICIES: [&str; 3] = ["PreferDualStack", "RequireDualStack", "SingleStack"];
const MANY: &str = "spec.clusterIPs";

/// An IP address.
pub(in super::super) fn address(field: &str, text: &str, wrong: &mut Errors) {
    if ip::parse(text).is_none() {
        let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        wrong.push(FieldError::invalid(field, &json!(text), why));
    }
}

pub(super) fn external(spec: &Value, wrong: &mut Errors) {
    for (at, external) in list(spec, "/externalIPs").iter().enumerate() {
        let (field, text) = (format!("spec.externalIPs[{at}]"), external.as_str().unwrap_or(""));
        address(&field, text, wrong);
        if let Some(why) = ip::parse(text).and_then(ip::special) {
            wrong.push(FieldError::invalid(field, external, why));
        }
    }
}

/// `clusterIP`, `clusterIPs`, `ipFamilies` and `ipFamilyPolicy`, each and together.
pub(super) fn addresses(object: &Value, wrong: &mut Errors) {
    if !needs_cluster_ip(object) {
        return;
    }
    let one = text(object, "/spec/clusterIP");
    let many = list(object, "/spec/clusterIPs");
    let value = json!(many);
    match (one.is_empty(), many.first()) {
        (false, None) => wrong.push(FieldError::required(MANY, "")),
        (false, Some(first)) if first != one => {
            wrong.push(FieldError::invalid(MANY, &value, "first value must match `clusterIP`"));
        }
        (true, Some(_)) => {
            wrong.push(FieldError::invalid(MANY, &value, "must be empty when `clusterIP` is not specified"));
        }
        _ => {}
    }
    families(object, wrong);
    one_of(&object["spec"], "spec", "ipFamilyPolicy", &FAMILY_POLICIES, wrong);
    let before = wrong.len();
    for (at, one) in many.iter().enumerate() {
        match one.as_str().unwrap_or("") {
            HEADLESS if at == 0 && many.len() == 1 => {}
            HEADLESS if at == 0 => {
                wrong.push(FieldError::invalid(MANY, &value, "'None' must be the first and only value"));
            }
            text => address(&format!("{MANY}[{at}]"), text, wrong),
        }
    }
    if many.len() > 2 {
        wrong.push(FieldError::invalid(MANY, &value, "may only hold up to 2 values"));
    }
    if wrong.len() == before {
        together(object, many, &value, wrong);
    }
}

fn families(object: &Value, wrong: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (at, family) in list(object, "/spec/ipFamilies").iter().enumerate() {
        let field = format!("spec.ipFamilies[{at}]");
        let word = family.as_str().unwrap_or("");
        if !FAMILIES.contains(&word) {
            wrong.push(FieldError::not_supported(&field, family, &FAMILIES));
        } else if !seen.insert(word) {
            wrong.push(FieldError::duplicate(&field, family));
        } else if word != IPV4 && !(is_headless(object) && selectorless(object)) {
            wrong.push(FieldError::invalid(&field, family, "not configured on this cluster"));
        }
    }
}

fn together(object: &Value, many: &[Value], value: &Value, wrong: &mut Errors) {
    let families = list(object, "/spec/ipFamilies");
    let policy = text(object, "/spec/ipFamilyPolicy");
    let version_6 = |one: &Value| one.as_str().is_some_and(|text| text.contains(':'));
    if many.len() == 2 && version_6(&many[0]) == version_6(&many[1]) {
        wrong.push(FieldError::invalid(MANY, value, "may specify no more than one IP for each IP family"));
    }
    if policy == "SingleStack" {
        for (count, what) in [(many.len(), "cluster IPs"), (families.len(), "IP families")] {
            if count == 2 {
                let why = format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified");
                wrong.push(FieldError::invalid("spec.ipFamilyPolicy", &json!(policy), why));
            }
        }
    }
    if is_headless(object) {
        if policy == "RequireDualStack" && !selectorless(object) {
            dual_stack(policy, wrong);
        }
        return;
    }
    for (at, one) in many.iter().enumerate() {
        let expected = families.get(at).and_then(Value::as_str).unwrap_or("");
        let found = if version_6(one) { "IPv6" } else { IPV4 };
        if !expected.is_empty() && expected != found {
            let why = format!("expected an {expected} value as indicated by `ipFamilies[{at}]`");
            wrong.push(FieldError::invalid(format!("{MANY}[{at}]"), one, why));
        } else if found != IPV4 {
            let why = "IPv6 is not configured on this cluster";
            wrong.push(FieldError::invalid(format!("{MANY}[{at}]"), value, why));
        }
    }
    if policy == "RequireDualStack" {
        dual_stack(policy, wrong);
    }
}

fn dual_stack(policy: &str, wrong: &mut Errors) {
    let why = "this cluster is not configured for dual-stack services";
    wrong.push(FieldError::invalid("spec.ipFamilyPolicy", &json!(policy), why));
}

/// An address that was given out stays, but on the way to or from a name of another domain.
pub(super) fn update(new: &Value, old: &Value, wrong: &mut Errors) {
    if !needs_cluster_ip(new) || !needs_cluster_ip(old) {
        return;
    }
    let (before, after) = (list(old, "/spec/clusterIPs"), list(new, "/spec/clusterIPs"));
    let (value, field) = (json!(after), format!("{MANY}[0]"));
    match (before.first(), after.first()) {
        (Some(_), None) => wrong.push(FieldError::invalid(field, &value, "primary clusterIP can not be unset")),
        (Some(before), Some(after)) if before != after => {
            wrong.push(FieldError::invalid(field, &value, "may not change once set"));
        }
        _ => {}
    }
    let families = list(new, "/spec/ipFamilies");
    if let (Some(before), Some(after)) = (list(old, "/spec/ipFamilies").first(), families.first())
        && before != after
        && !(is_headless(new) && is_headless(old) && selectorless(new))
    {
        wrong.push(FieldError::invalid("spec.ipFamilies[0]", &json!(families), "may not change once set"));
    }
}
