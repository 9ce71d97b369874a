//! A resource as the cache keeps it: folded up, because there may be very many, and unfolded once a pass.

use std::borrow::Cow;

use kube::Resource;
use kube::core::error_boundary::InvalidObject;
use kube::core::{DeserializeGuard, ObjectMeta};
use serde::{Deserialize, Serialize};

use crate::api::{ClientCertificateRef, ClientCertificateRefSpec, ClientCertificateRefStatus};

/// A resource as it is watched: one that does not parse must not stop the others.
#[derive(Clone, Debug)]
pub struct Watched {
    metadata: ObjectMeta,
    /// Spec and status as JSON, which takes half of what they take parsed; or why they do not parse.
    content: Result<Box<str>, Box<str>>,
}

#[derive(Serialize, Deserialize)]
struct Content {
    spec: ClientCertificateRefSpec,
    status: Option<ClientCertificateRefStatus>,
}

impl Watched {
    /// All of the resource, or why there is none.
    pub fn unfold(&self) -> Result<ClientCertificateRef, Box<InvalidObject>> {
        let content = match &self.content {
            Ok(content) => serde_json::from_str(content).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match content {
            Ok(Content { spec, status }) => Ok(ClientCertificateRef { metadata: self.metadata.clone(), spec, status }),
            Err(error) => Err(Box::new(InvalidObject { error, metadata: self.metadata.clone() })),
        }
    }
}

impl From<ClientCertificateRef> for Watched {
    fn from(resource: ClientCertificateRef) -> Self {
        let ClientCertificateRef { metadata, spec, status } = resource;
        let content = serde_json::to_string(&Content { spec, status });
        Watched { metadata, content: content.map(Into::into).map_err(|error| error.to_string().into()) }
    }
}

impl From<DeserializeGuard<ClientCertificateRef>> for Watched {
    fn from(resource: DeserializeGuard<ClientCertificateRef>) -> Self {
        match resource.0 {
            Ok(resource) => resource.into(),
            Err(InvalidObject { error, metadata }) => Watched { metadata, content: Err(error.into()) },
        }
    }
}

impl Resource for Watched {
    type DynamicType = ();
    type Scope = <ClientCertificateRef as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        ClientCertificateRef::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        ClientCertificateRef::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        ClientCertificateRef::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        ClientCertificateRef::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::conditions::{ConditionType, Finding, Reason, set};
    use crate::fixtures::resource;

    #[test]
    fn what_is_folded_up_unfolds_to_the_same() {
        let mut whole = resource("payments");
        whole.spec.description = Some("\"quoted\" and\nbroken".to_owned());
        assert_eq!(json!(Watched::from(whole.clone()).unfold().unwrap()), json!(whole));
        let mut status = ClientCertificateRefStatus::default();
        let at = "2026-11-24T01:02:03Z".parse().unwrap();
        set(&mut status.conditions, ConditionType::Ready, Finding::yes(Reason::Read, "text"), Some(1), at);
        whole.status = Some(status);
        assert_eq!(json!(Watched::from(whole.clone()).unfold().unwrap()), json!(whole));
    }

    #[test]
    fn what_does_not_parse_says_why_and_whose_it_is() {
        let invalid = json!({ "metadata": { "name": "payments" }, "spec": { "clientCertificateId": 7 } });
        let guarded: DeserializeGuard<ClientCertificateRef> = serde_json::from_value(invalid).unwrap();
        let error = guarded.0.as_ref().unwrap_err().error.clone();
        let unfolded = Watched::from(guarded).unfold().unwrap_err();
        assert_eq!(unfolded.metadata.name.as_deref(), Some("payments"));
        assert_eq!(unfolded.error, error);
    }
}
