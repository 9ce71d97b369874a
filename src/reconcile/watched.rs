//! A resource as the cache keeps it: folded up, because there may be very many, and unfolded once a pass.

use std::borrow::Cow;

use jiff::Timestamp;
use kube::Resource;
use kube::core::error_boundary::InvalidObject;
use kube::core::{DeserializeGuard, ObjectMeta};
use serde::{Deserialize, Serialize};

use crate::api::{ClientCertificateRef, ClientCertificateRefSpec, ClientCertificateRefStatus};
use crate::conditions::ConditionType;

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

/// As much of a resource as its metrics tell, which is read many times faster than all of it.
#[derive(Debug, Default, Deserialize)]
pub struct Glimpse<'w> {
    #[serde(borrow, default)]
    conditions: Vec<GlimpsedCondition<'w>>,
    /// The certificates that the target holds.
    #[serde(borrow, default)]
    pub certificates: Vec<GlimpsedCertificate<'w>>,
}

#[derive(Debug, Deserialize)]
struct GlimpsedCondition<'w> {
    #[serde(borrow, rename = "type")]
    type_: Cow<'w, str>,
    #[serde(borrow)]
    status: Cow<'w, str>,
}

/// A certificate that the target holds.
#[derive(Debug, Deserialize)]
pub struct GlimpsedCertificate<'w> {
    /// API Gateway's identifier.
    #[serde(borrow)]
    pub id: Cow<'w, str>,
    /// When it ends.
    #[serde(rename = "expirationDate")]
    pub not_after: Option<Timestamp>,
}

#[derive(Deserialize)]
struct GlimpsedContent<'w> {
    #[serde(borrow)]
    status: Option<Glimpse<'w>>,
}

impl Glimpse<'_> {
    /// Whether a condition is there and True.
    pub fn is_true(&self, type_: ConditionType) -> bool {
        let name = type_.to_string();
        self.conditions.iter().any(|condition| condition.type_ == name && condition.status == "True")
    }
}

impl Watched {
    /// What the metrics tell. Of a resource that does not parse there is nothing.
    pub fn glimpse(&self) -> Glimpse<'_> {
        let content = self.content.as_deref().ok();
        let content = content.and_then(|content| serde_json::from_str::<GlimpsedContent<'_>>(content).ok());
        content.and_then(|content| content.status).unwrap_or_default()
    }

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
    use crate::api::CertificateStatus;
    use crate::conditions::{Finding, Reason, set};
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
    fn a_glimpse_shows_conditions_and_certificates() {
        let mut whole = resource("payments");
        assert!(!Watched::from(whole.clone()).glimpse().is_true(ConditionType::Ready));
        let at: Timestamp = "2026-11-24T01:02:03Z".parse().unwrap();
        let mut status = ClientCertificateRefStatus::default();
        set(&mut status.conditions, ConditionType::Ready, Finding::yes(Reason::Read, "a \"word\""), Some(1), at);
        set(&mut status.conditions, ConditionType::Expiring, Finding::no(Reason::EndsLater, "text"), Some(1), at);
        let certificate = |id: &str, ends| CertificateStatus {
            id: id.to_owned(),
            expiration_date: ends,
            description: Some("more \"words\"".to_owned()),
            ..CertificateStatus::default()
        };
        status.certificates = vec![certificate("9ao60f", Some(at)), certificate("\"", None)];
        whole.status = Some(status);
        let watched = Watched::from(whole);
        let glimpse = watched.glimpse();
        assert!(glimpse.is_true(ConditionType::Ready));
        assert!(!glimpse.is_true(ConditionType::Expiring));
        assert!(!glimpse.is_true(ConditionType::CertificateRead));
        let certificates: Vec<_> = glimpse.certificates.iter().map(|one| (&*one.id, one.not_after)).collect();
        assert_eq!(certificates, [("9ao60f", Some(at)), ("\"", None)]);
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
