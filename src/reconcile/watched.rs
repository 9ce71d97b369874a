//! A resource as the cache keeps it: folded up, because there may be very many, and unfolded once a pass.

use std::borrow::Cow;

use jiff::Timestamp;
use kube::Resource;
use kube::core::error_boundary::InvalidObject;
use kube::core::{DeserializeGuard, ObjectMeta};
use lz4_flex::block::{compress_prepend_size_with_dict, decompress_size_prepended_with_dict};
use serde::{Deserialize, Serialize};

use crate::api::{ClientCertificateRef, ClientCertificateRefSpec, ClientCertificateRefStatus};
use crate::conditions::ConditionType;

/// A resource as it is watched: one that does not parse must not stop the others.
#[derive(Clone, Debug)]
pub struct Watched {
    metadata: ObjectMeta,
    /// Spec and status as JSON, compressed; or why they do not parse.
    content: Result<Folded, Box<str>>,
}

/// JSON, compressed: what resources have in common is told by [`TYPICAL`], so that little remains.
#[derive(Clone, Debug)]
struct Folded(Box<[u8]>);

/// What stands in most resources. Anything may be added, nothing depends on it but room.
const TYPICAL: &[u8] = br#""description":"","region":"us-east-1","assumeRole":{"roleArn":"arn:aws:iam::","externalId":""},"labels":{},"annotations":{},"keys":{},"preset":"CaCrt","lastHandledRefresh":"","reason":"Expiring","status":"False","type":"DescriptionSynced","message":"API Gateway holds the description","reason":"Synced","status":"True","certificates":[{"id":"","region":"us-east-1","accountId":"111122223333","description":"","createdDate":"2026-11-24T00:00:00Z","expirationDate":"2027-11-24T00:00:00Z","tags":{},"serialNumber":"","sha256Fingerprint":"","subject":"C=US, L=Seattle, CN=ApiGateway"}],"target":{"kind":"ConfigMap","name":""}}}{"spec":{"clientCertificateId":"","refreshInterval":"5m","suspend":false,"target":{"kind":"Secret","adopt":false,"deletionPolicy":"Delete"}},"status":{"observedGeneration":1,"installation":"client-certificate-operator/client-certificate-operator","conditions":[{"lastTransitionTime":"2026-11-24T00:00:00Z","message":"the Secret  holds the certificate","observedGeneration":1,"reason":"Mirrored","status":"True","type":"Ready"},{"lastTransitionTime":"2026-11-24T00:00:00Z","message":"read the client certificate ","observedGeneration":1,"reason":"Read","status":"True","type":"CertificateRead"},{"lastTransitionTime":"2026-11-24T00:00:00Z","message":"the Secret  holds the certificate","observedGeneration":1,"reason":"Written","status":"True","type":"TargetWritten"},{"lastTransitionTime":"2026-11-24T00:00:00Z","message":"the certificate ends at 2027-11-24T00:00:00Z","observedGeneration":1,"reason":"EndsLater","status":"False","type":"Expiring"}],"certificates":[{"id":"","region":"us-east-1","createdDate":"2026-11-24T00:00:00Z","expirationDate":"2027-11-24T00:00:00Z","serialNumber":"","sha256Fingerprint":"","subject":"C=US, L=Seattle, CN=ApiGateway"}],"target":{"kind":"Secret","name":""}}}"#;

impl Folded {
    fn new(json: &str) -> Self {
        Folded(compress_prepend_size_with_dict(json.as_bytes(), TYPICAL).into())
    }

    fn json(&self) -> Result<String, String> {
        let bytes = decompress_size_prepended_with_dict(&self.0, TYPICAL).map_err(|error| error.to_string())?;
        String::from_utf8(bytes).map_err(|error| error.to_string())
    }
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

impl<'w> Glimpse<'w> {
    /// What the metrics tell of a resource, out of its JSON. Of one that does not parse there is nothing.
    pub fn of(json: &'w str) -> Self {
        serde_json::from_str::<GlimpsedContent<'_>>(json).ok().and_then(|content| content.status).unwrap_or_default()
    }

    /// Whether a condition is there and True.
    pub fn is_true(&self, type_: ConditionType) -> bool {
        let name = type_.to_string();
        self.conditions.iter().any(|condition| condition.type_ == name && condition.status == "True")
    }
}

impl Watched {
    /// Spec and status as JSON; nothing, where the resource does not parse.
    pub fn json(&self) -> String {
        self.content.as_ref().ok().and_then(|content| content.json().ok()).unwrap_or_default()
    }

    /// All of the resource, or why there is none.
    pub fn unfold(&self) -> Result<ClientCertificateRef, Box<InvalidObject>> {
        let content = match &self.content {
            Ok(content) => {
                content.json().and_then(|json| serde_json::from_str(&json).map_err(|error| error.to_string()))
            }
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
        Watched { metadata, content: content.map(|json| Folded::new(&json)).map_err(|error| error.to_string().into()) }
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
    fn a_resource_as_most_are_takes_a_fraction_of_its_json() {
        let mut whole = resource("payments");
        let (at, mut status) = ("2026-11-25T07:08:09Z".parse().unwrap(), ClientCertificateRefStatus::default());
        for (type_, reason, text) in [
            (ConditionType::Ready, Reason::Mirrored, "the Secret payments holds the certificate"),
            (ConditionType::CertificateRead, Reason::Read, "read the client certificate 9ao60f in eu-central-1"),
            (ConditionType::TargetWritten, Reason::Written, "the Secret payments holds the certificate"),
            (ConditionType::Expiring, Reason::EndsLater, "the certificate ends at 2027-11-25T07:08:09Z"),
        ] {
            set(&mut status.conditions, type_, Finding::yes(reason, text), Some(1), at);
        }
        status.certificates = vec![CertificateStatus {
            id: "9ao60f".into(),
            sha256_fingerprint: Some("5f75eff9ee348ac5dbc0d92235e9cdfaba237f6f36fef103ede2373c7ef4be7f".into()),
            ..CertificateStatus::default()
        }];
        whole.status = Some(status);
        let watched = Watched::from(whole);
        let (folded, json) = (watched.content.as_ref().unwrap().0.len(), watched.json().len());
        assert!(folded * 3 < json, "{folded} of {json} bytes");
    }

    #[test]
    fn a_glimpse_shows_conditions_and_certificates() {
        let mut whole = resource("payments");
        assert!(!Glimpse::of(&Watched::from(whole.clone()).json()).is_true(ConditionType::Ready));
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
        let json = watched.json();
        let glimpse = Glimpse::of(&json);
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
