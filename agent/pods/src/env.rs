//! A container's environment and command line: references, sources and `$(VAR)` expansion.

mod service_env;

use control_api::view::core::{Container, EnvVar, EnvVarSource, Pod};

use crate::ports::{Objects, PodFacts};
use crate::resources::Asks;

/// Why an environment cannot be made; shown as CreateContainerConfigError.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    #[error("{kind} \"{name}\" not found")]
    NoObject { kind: &'static str, name: String },
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    NoKey { kind: &'static str, namespace: String, name: String, key: String },
    #[error("unsupported {what}: {value}")]
    Unsupported { what: &'static str, value: String },
}

/// Variables in the order of their declaration; a later one of the same name replaces the value.
#[derive(Debug, Default)]
pub struct Environment {
    pairs: Vec<(String, String)>,
}

impl Environment {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn set(&mut self, name: &str, value: String) {
        match self.pairs.iter_mut().find(|(key, _)| key == name) {
            Some(pair) => pair.1 = value,
            None => self.pairs.push((name.to_owned(), value)),
        }
    }

    /// `NAME=value` each.
    pub fn into_strings(self) -> Vec<String> {
        self.pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    /// Replaces `$(NAME)`; `$$` is one dollar; a name that is not set stays as it is written.
    pub fn expand(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                out.push('$');
                rest = after;
                continue;
            }
            let inner = rest.strip_prefix('(').and_then(|inner| inner.split_once(')'));
            match inner {
                Some((name, after)) => {
                    match self.get(name) {
                        Some(value) => out.push_str(value),
                        None => out.push_str(&format!("$({name})")),
                    }
                    rest = after;
                }
                None => out.push('$'),
            }
        }
        out.push_str(rest);
        out
    }
}

/// Builds the environment that a container's spec asks for.
pub struct Builder<'a> {
    pub pod: &'a Pod,
    pub container: &'a Container,
    pub objects: &'a dyn Objects,
    pub facts: &'a PodFacts,
}

impl Builder<'_> {
    pub fn build(&self) -> Result<Environment, EnvError> {
        let mut environment = Environment::default();
        service_env::set(self.pod, self.objects, &mut environment);
        self.env_from(&mut environment)?;
        for variable in self.container.env.iter().flatten() {
            if let Some(value) = self.value(variable, &environment)? {
                environment.set(&variable.name, value);
            }
        }
        Ok(environment)
    }

    fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or("default")
    }

    fn env_from(&self, environment: &mut Environment) -> Result<(), EnvError> {
        for source in self.container.env_from.iter().flatten() {
            let prefix = source.prefix.as_deref().unwrap_or_default();
            if let Some(reference) = &source.config_map_ref {
                match self.objects.config_map(self.namespace(), &reference.name) {
                    Some(map) => {
                        for (key, value) in map.data.iter().flatten() {
                            environment.set(&format!("{prefix}{key}"), value.clone());
                        }
                    }
                    None if reference.optional == Some(true) => {}
                    None => return Err(EnvError::NoObject { kind: "configmap", name: reference.name.clone() }),
                }
            }
            if let Some(reference) = &source.secret_ref {
                match self.objects.secret(self.namespace(), &reference.name) {
                    Some(secret) => {
                        for (key, value) in secret.data.iter().flatten() {
                            environment.set(&format!("{prefix}{key}"), String::from_utf8_lossy(&value.0).into_owned());
                        }
                    }
                    None if reference.optional == Some(true) => {}
                    None => return Err(EnvError::NoObject { kind: "secret", name: reference.name.clone() }),
                }
            }
        }
        Ok(())
    }

    fn value(&self, variable: &EnvVar, so_far: &Environment) -> Result<Option<String>, EnvError> {
        match (&variable.value, &variable.value_from) {
            (Some(value), _) if !value.is_empty() => Ok(Some(so_far.expand(value))),
            (_, Some(source)) => self.sourced(source),
            _ => Ok(Some(String::new())),
        }
    }

    fn sourced(&self, source: &EnvVarSource) -> Result<Option<String>, EnvError> {
        let namespace = self.namespace();
        let no_key = |kind, name: &str, key: &str| EnvError::NoKey {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            key: key.to_owned(),
        };
        if let Some(reference) = &source.config_map_key_ref {
            let optional = reference.optional == Some(true);
            let Some(map) = self.objects.config_map(namespace, &reference.name) else {
                let missing = EnvError::NoObject { kind: "configmap", name: reference.name.clone() };
                return if optional { Ok(None) } else { Err(missing) };
            };
            let value = map.data.and_then(|mut data| data.remove(&reference.key));
            return match value {
                None if !optional => Err(no_key("ConfigMap", &reference.name, &reference.key)),
                value => Ok(value),
            };
        }
        if let Some(reference) = &source.secret_key_ref {
            let optional = reference.optional == Some(true);
            let Some(secret) = self.objects.secret(namespace, &reference.name) else {
                let missing = EnvError::NoObject { kind: "secret", name: reference.name.clone() };
                return if optional { Ok(None) } else { Err(missing) };
            };
            let value = secret.data.and_then(|mut data| data.remove(&reference.key));
            return match value {
                None if !optional => Err(no_key("Secret", &reference.name, &reference.key)),
                value => Ok(value.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned())),
            };
        }
        if let Some(reference) = &source.field_ref {
            let path = &reference.field_path;
            let unsupported = || EnvError::Unsupported { what: "fieldPath", value: path.clone() };
            return field(self.pod, self.facts, path).map(Some).ok_or_else(unsupported);
        }
        if let Some(reference) = &source.resource_field_ref {
            let divisor = reference.divisor.as_ref().map(|divisor| divisor.0.as_str());
            let name = reference.container_name.as_deref();
            let container = name.and_then(|name| crate::machine::container(self.pod, name)).unwrap_or(self.container);
            let value = resource(container, self.facts, &reference.resource, divisor);
            let unsupported = || EnvError::Unsupported { what: "resource", value: reference.resource.clone() };
            return value.map(Some).ok_or_else(unsupported);
        }
        Ok(None)
    }
}

/// A field of the pod by its downward path; the empty string for one that has no value yet.
pub fn field(pod: &Pod, facts: &PodFacts, path: &str) -> Option<String> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    if let Some((list, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        let map = match list {
            "metadata.labels" => meta.labels.as_ref(),
            "metadata.annotations" => meta.annotations.as_ref(),
            _ => return None,
        };
        return Some(map.and_then(|map| map.get(key)).cloned().unwrap_or_default());
    }
    let value = match path {
        "metadata.name" => meta.name.clone(),
        "metadata.namespace" => meta.namespace.clone(),
        "metadata.uid" => meta.uid.clone(),
        "metadata.labels" => Some(pairs(meta.labels.as_ref())),
        "metadata.annotations" => Some(pairs(meta.annotations.as_ref())),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()).or(Some(facts.node_name.clone())),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
        "status.hostIP" => facts.host_ips.first().cloned(),
        "status.hostIPs" => Some(facts.host_ips.join(",")),
        "status.podIP" => facts.pod_ips.first().cloned(),
        "status.podIPs" => Some(facts.pod_ips.join(",")),
        _ => return None,
    };
    Some(value.unwrap_or_default())
}

/// One `key="value"` a line.
fn pairs(map: Option<&std::collections::BTreeMap<String, String>>) -> String {
    let line = |(key, value): (&String, &String)| format!("{key}={value:?}");
    map.into_iter().flatten().map(line).collect::<Vec<_>>().join("\n")
}

/// A container's request or limit in units of `divisor`, rounded up; a limit that is not set is the node's.
pub fn resource(container: &Container, facts: &PodFacts, name: &str, divisor: Option<&str>) -> Option<String> {
    use control_api::quantity::Quantity;
    let asks = Asks::of(container.resources.as_ref());
    let divisor = divisor.filter(|text| *text != "0" && !text.is_empty()).unwrap_or("1");
    let divisor = Quantity::parse(divisor).ok()?;
    let (value, divisor) = match name {
        "limits.cpu" => (asks.cpu_limit_milli.unwrap_or(facts.cpu_milli), divisor.milli()),
        "requests.cpu" => (asks.cpu_request_milli.unwrap_or(0), divisor.milli()),
        "limits.memory" => (asks.memory_limit_bytes.unwrap_or(facts.memory_bytes), divisor.units()),
        "requests.memory" => (asks.memory_request_bytes.unwrap_or(0), divisor.units()),
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => (0, divisor.units()),
        _ => return None,
    };
    let divisor = divisor.max(1);
    Some(((i128::from(value) + divisor - 1) / divisor).to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct None_;
    impl Objects for None_ {
        fn config_map(&self, _: &str, name: &str) -> Option<control_api::view::core::ConfigMap> {
            (name == "here").then(|| serde_json::from_value(json!({"data": {"k": "v"}})).unwrap())
        }
        fn secret(&self, _: &str, _: &str) -> Option<control_api::view::core::Secret> {
            None
        }
        fn services(&self, _: &str) -> Vec<control_api::view::core::Service> {
            Vec::new()
        }
    }

    fn build(container: serde_json::Value) -> Result<Vec<String>, EnvError> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"a/b": "c"}},
            "spec": {"containers": [container]},
        }))
        .unwrap();
        let facts = PodFacts { pod_ips: vec!["10.42.0.2".into()], cpu_milli: 2000, ..PodFacts::default() };
        let container = &pod.spec.as_ref().unwrap().containers[0];
        Builder { pod: &pod, container, objects: &None_, facts: &facts }.build().map(Environment::into_strings)
    }

    #[test]
    fn references_expand_only_to_what_came_before() {
        let env = build(json!({"name": "c", "env": [
            {"name": "A", "value": "1"},
            {"name": "B", "value": "$(A) $(LATER) $$(A) $x $(open"},
            {"name": "LATER", "value": "2"}]}));
        assert_eq!(env.unwrap(), ["A=1", "B=1 $(LATER) $(A) $x $(open", "LATER=2"]);
    }

    #[test]
    fn fields_and_resources_of_the_pod_are_known() {
        let env = build(json!({"name": "c", "resources": {"limits": {"memory": "3Mi"}}, "env": [
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a/b']"}}},
            {"name": "M", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
            {"name": "C", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]}));
        assert_eq!(env.unwrap(), ["IP=10.42.0.2", "L=c", "M=3", "C=2"]);
    }

    #[test]
    fn what_is_missing_is_named_as_the_kubelet_names_it() {
        let reference = |name: &str, key: &str, optional: bool| {
            json!({"name": "c", "env": [{"name": "A", "valueFrom": {"configMapKeyRef":
                {"name": name, "key": key, "optional": optional}}}]})
        };
        let text = |container| build(container).unwrap_err().to_string();
        assert_eq!(text(reference("x", "k", false)), "configmap \"x\" not found");
        assert_eq!(text(reference("here", "z", false)), "couldn't find key z in ConfigMap n/here");
        assert_eq!(build(reference("x", "k", true)).unwrap(), Vec::<String>::new());
        let from = json!({"name": "c", "envFrom": [{"prefix": "P_", "configMapRef": {"name": "here"}}]});
        assert_eq!(build(from).unwrap(), ["P_k=v"]);
        let secret = json!({"name": "c", "envFrom": [{"secretRef": {"name": "s"}}]});
        assert_eq!(text(secret), "secret \"s\" not found");
    }
}
