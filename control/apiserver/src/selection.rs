//! Which objects of a resource a list, a watch or a deletecollection is about.

use control_api::{FieldSelector, LabelSelector, Status};
use control_store::Object;

use crate::negotiate::parse;
use crate::query::Query;
use crate::route::{ResourcePath, Route};

#[derive(Debug, Clone)]
pub struct Selection {
    /// None is every namespace.
    pub namespace: Option<String>,
    name: Option<String>,
    labels: LabelSelector,
    fields: FieldSelector,
    /// Some term needs more than an object's metadata.
    deep: bool,
}

impl Selection {
    pub fn of(at: &ResourcePath, query: &Query) -> Result<Self, Status> {
        let labels = LabelSelector::parse(query.text("labelSelector"))
            .map_err(|error| Status::bad_request(error.to_string()))?;
        let fields = FieldSelector::parse(query.text("fieldSelector"))
            .map_err(|error| Status::bad_request(error.to_string()))?;
        fields.check(at.resource).map_err(|error| Status::bad_request(error.to_string()))?;
        let shallow = |path: &str| matches!(path, "metadata.name" | "metadata.namespace");
        Ok(Self {
            namespace: (!at.namespace.is_empty()).then(|| at.namespace.clone()),
            name: (!at.name.is_empty()).then(|| at.name.clone()),
            deep: fields.terms.iter().any(|(path, ..)| !shallow(path)),
            labels,
            fields,
        })
    }

    /// The one name, and the one node, that a list's or watch's field selector leaves; else nothing.
    pub fn narrowed(route: &Route, query: &Query) -> (String, String) {
        let text = query.text("fieldSelector");
        if text.is_empty() || !matches!(route.verb, "list" | "watch") {
            return Default::default();
        }
        let fields = FieldSelector::parse(text).ok();
        let equal = |path| fields.as_ref().and_then(|fields| fields.equal_to(path)).unwrap_or_default().to_owned();
        (equal("metadata.name"), equal("spec.nodeName"))
    }

    /// Whether objects are left out by more than their namespace.
    pub fn selects(&self) -> bool {
        self.name.is_some() || !self.labels.is_empty() || !self.fields.is_empty()
    }

    pub fn matches(&self, object: &Object) -> bool {
        let (namespace, name) = (&*object.key.namespace, &*object.key.name);
        self.namespace.as_deref().is_none_or(|wanted| wanted == namespace)
            && self.name.as_deref().is_none_or(|wanted| wanted == name)
            && self.labels.matches(&object.meta.labels)
            && self.fields_match(object, namespace, name)
    }

    fn fields_match(&self, object: &Object, namespace: &str, name: &str) -> bool {
        if self.deep {
            return parse(object).is_ok_and(|value| self.fields.matches(&value));
        }
        self.fields.terms.iter().all(|(path, equal, wanted)| {
            let found = if path == "metadata.name" { name } else { namespace };
            (found == wanted) == *equal
        })
    }
}
