//! The findings about a backend, in lines that a script can read, and the verdict.

use std::collections::BTreeSet;
use std::fmt;

use crate::api::{CertificateStatus, ClientCertificateRef};
use crate::certificate::Certificate;
use crate::conditions::{ConditionType, find, is_true};

/// The subject of every client certificate of API Gateway, for a status without one.
const API_GATEWAY: &str = "C=US, L=Seattle, CN=ApiGateway";
/// The greatest number of authorities that are named; the rest is counted. A server that trusts all public CAs names
/// them all.
const SHOWN: usize = 10;

/// A server's reception of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reception {
    /// The handshake or the connection ended before a response.
    RefusedByTls(String),
    /// A response that rejects callers without the right certificate.
    RefusedByHttp(u16),
    /// Any other response.
    LetIn(u16),
    /// The reception is unknown, for this reason.
    Unknown(String),
}

impl Reception {
    /// The reception by HTTP status. 495 and 496 are nginx's statuses for a bad and for a missing certificate.
    pub fn of_status(status: u16) -> Self {
        match status {
            400 | 401 | 403 | 495 | 496 => Reception::RefusedByHttp(status),
            _ => Reception::LetIn(status),
        }
    }
}

impl fmt::Display for Reception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reception::RefusedByTls(how) => write!(f, "refused by TLS ({how})"),
            Reception::RefusedByHttp(status) => write!(f, "refused by HTTP {status}"),
            Reception::LetIn(status) => write!(f, "accepted (HTTP {status})"),
            Reception::Unknown(why) => write!(f, "unknown ({why})"),
        }
    }
}

/// The reception of the callers that a server has to reject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strangers {
    /// The caller without a certificate.
    pub without: Reception,
    /// The caller with another certificate of API Gateway's name; `None` if the server requests no certificate.
    pub other: Option<Reception>,
}

/// The findings of all calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// The names of the authorities in the server's CertificateRequest; `None` without a CertificateRequest.
    pub hints: Option<Vec<String>>,
    /// The reception of strangers; `None` with `--handshake-only`.
    pub strangers: Option<Strangers>,
}

/// The verdict, and the action for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The server requests a client certificate and rejects others.
    On(&'static str),
    /// The server does not.
    Off(&'static str),
    /// The result is unknown.
    Unknown(&'static str),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, text) = match self {
            Verdict::On(text) => ("on", text),
            Verdict::Off(text) => ("off", text),
            Verdict::Unknown(text) => ("unknown", text),
        };
        write!(f, "{word}: {text}")
    }
}

/// The certificates in the target of a resource, or the reason for which they are unknown.
pub fn trusted(resource: &ClientCertificateRef) -> Result<&[CertificateStatus], String> {
    let place = format!("ClientCertificateRef {}/{}", resource.namespace(), resource.name());
    let Some(status) = &resource.status else {
        return Err(format!("{place} has no status yet; check that the operator runs and watches the namespace"));
    };
    match find(&status.conditions, ConditionType::Ready) {
        Some(_) if is_true(&status.conditions, ConditionType::Ready) => {}
        Some(ready) => return Err(format!("{place} is not Ready: {}: {}", ready.reason, ready.message)),
        None => return Err(format!("{place} is not Ready yet; wait for the condition Ready")),
    }
    match status.certificates.as_slice() {
        [] => Err(format!("{place} has no certificate in status.certificates yet; wait for the condition Ready")),
        certificates => Ok(certificates),
    }
}

/// The lines about the resource and the certificates in its target.
pub fn resource_lines(resource: &ClientCertificateRef, certificates: &[CertificateStatus]) -> String {
    let target = resource.status.as_ref().and_then(|status| status.target.as_ref());
    let target = target.map_or_else(|| resource.target_ref().to_string(), ToString::to_string);
    let mut lines = format!("resource: {}/{}, {target}\n", resource.namespace(), resource.name());
    for certificate in certificates {
        let fingerprint = certificate.sha256_fingerprint.as_deref().unwrap_or("unknown");
        let end = certificate.expiration_date.map_or_else(|| "unknown".to_owned(), |end| end.to_string());
        let (id, subject) = (&certificate.id, subject(certificate));
        lines += &format!("certificate {id}: {subject}, SHA-256 {fingerprint}, expires {end}\n");
    }
    lines
}

fn subject(certificate: &CertificateStatus) -> &str {
    certificate.subject.as_deref().unwrap_or(API_GATEWAY)
}

impl Findings {
    /// The lines of the findings, one fact in each.
    pub fn lines(&self, trusted: &[CertificateStatus]) -> String {
        let asks = if self.hints.is_some() { "yes" } else { "no" };
        let mut lines = format!("requests a client certificate: {asks}\n");
        if let Some(hints) = &self.hints {
            lines += &format!("authorities that it hints: {}\n", hinted(hints, trusted));
        }
        match &self.strangers {
            None => lines += "callers that the server must reject: not tried (--handshake-only)\n",
            Some(Strangers { without, other }) => {
                lines += &format!("a caller without a certificate: {without}\n");
                if let Some(other) = other {
                    lines += &format!("a stranger's certificate of the same name: {other}\n");
                }
                let by_http = [Some(without), other.as_ref()].into_iter().flatten().any(is_ambiguous);
                if by_http {
                    lines += "note: an application that returns 400, 401 or 403 to every caller looks the same; set --path to a path that the application serves to API Gateway\n";
                }
            }
        }
        let chained = trusted.iter().filter(|certificate| !certificate.chain.is_empty());
        let cas: BTreeSet<String> = chained.flat_map(authorities).collect();
        if !cas.is_empty() {
            let cas = cas.into_iter().collect::<Vec<_>>().join("; ");
            lines += &format!(
                "note: the target trusts every certificate of {cas}; the server accepts all of them unless it also compares pins or the subject\n"
            );
        }
        lines += "the right certificate: not tried (AWS keeps its private key)\n";
        lines + "the server's own certificate: not checked (API Gateway checks it)\n"
    }

    /// The verdict. Off takes precedence over unknown.
    pub fn verdict(&self, trusted: &[CertificateStatus]) -> Verdict {
        let Some(hints) = &self.hints else {
            return Verdict::Off(
                "the server requests no client certificate, so it accepts callers without one; enable client certificate verification on the server (see deploy/samples), and check that --server-name is the name that API Gateway calls",
            );
        };
        if !hints.is_empty() && !hints.iter().any(|hint| is_ours(hint, trusted)) {
            return Verdict::Off(
                "the server requests certificates of other authorities; configure the server to verify clients against the target of this resource, and reload it",
            );
        }
        let Some(Strangers { without, other }) = &self.strangers else {
            return Verdict::On(
                "the server requests a client certificate; whether it rejects others was not tried (--handshake-only)",
            );
        };
        if matches!(without, Reception::LetIn(_)) {
            return Verdict::Off(
                "the server requests a client certificate but accepts callers without one; make the client certificate required, not optional",
            );
        }
        match other {
            Some(Reception::LetIn(_)) => Verdict::Off(
                "the server accepts any certificate of the same name; configure the server to verify clients against the target of this resource, or to compare its pins",
            ),
            Some(Reception::RefusedByTls(_) | Reception::RefusedByHttp(_)) if is_refusal(without) => {
                Verdict::On("the server rejects callers without a certificate, and other certificates of the same name")
            }
            _ => Verdict::Unknown("not every call got a response; see above, and run verify again"),
        }
    }
}

fn is_refusal(reception: &Reception) -> bool {
    matches!(reception, Reception::RefusedByTls(_) | Reception::RefusedByHttp(_))
}

/// Whether the response may come from an application that does not check certificates.
fn is_ambiguous(reception: &Reception) -> bool {
    matches!(reception, Reception::RefusedByHttp(400 | 401 | 403))
}

/// The names of the authorities that a reader of the target may send: those of the chain, or the certificate's own
/// name.
fn authorities(certificate: &CertificateStatus) -> Vec<String> {
    let chain = Certificate::parse(&certificate.chain.concat());
    chain.map_or_else(
        |_| vec![subject(certificate).to_owned()],
        |chain| chain.blocks().map(|block| block.subject.clone()).collect(),
    )
}

fn is_ours(hint: &str, trusted: &[CertificateStatus]) -> bool {
    trusted.iter().any(|certificate| authorities(certificate).iter().any(|name| name == hint))
}

fn hinted(hints: &[String], trusted: &[CertificateStatus]) -> String {
    let (ours, others): (Vec<&String>, Vec<&String>) = hints.iter().partition(|hint| is_ours(hint, trusted));
    let ours = ours.into_iter().map(|hint| format!("{hint} (API Gateway's)"));
    let mut named: Vec<String> =
        ours.chain(others.into_iter().map(|hint| format!("{hint} (not API Gateway's)"))).collect();
    let more = named.len().saturating_sub(SHOWN);
    named.truncate(SHOWN);
    match (named.is_empty(), more) {
        (true, _) => "none, which means any".to_owned(),
        (false, 0) => named.join("; "),
        (false, more) => format!("{}; and {more} more", named.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
    use serde_json::json;

    use super::*;

    const OTHER: &str = "CN=Somebody Else";

    fn trusted_certificates() -> Vec<CertificateStatus> {
        let certificate = CertificateStatus { id: "9ao60f".to_owned(), ..CertificateStatus::default() };
        vec![CertificateStatus { subject: Some(API_GATEWAY.to_owned()), ..certificate.clone() }, certificate]
    }

    fn findings(hints: Option<&[&str]>, strangers: Option<(Reception, Option<Reception>)>) -> Findings {
        let hints = hints.map(|hints| hints.iter().map(|hint| (*hint).to_owned()).collect());
        Findings { hints, strangers: strangers.map(|(without, other)| Strangers { without, other }) }
    }

    #[test]
    fn the_authorities_of_a_chain_are_ours_and_cover_more_than_one_certificate() {
        use crate::fixtures::issued::{ISSUING_PEM, ROOT_PEM};
        let subject = |cn: &str| format!("O=Payments, CN={cn}");
        let of_acm = CertificateStatus {
            subject: Some(subject("api")),
            chain: vec![ISSUING_PEM.to_owned(), ROOT_PEM.to_owned()],
            ..CertificateStatus::default()
        };
        let refused = || Reception::RefusedByTls("unknown_ca".into());
        let issuing = subject("Issuing");
        let found = findings(Some(&[&issuing]), Some((refused(), Some(refused()))));
        assert!(matches!(found.verdict(std::slice::from_ref(&of_acm)), Verdict::On(_)));
        assert!(matches!(found.verdict(&trusted_certificates()), Verdict::Off(_)));
        let lines = found.lines(&[of_acm]);
        let note = format!(
            "the target trusts every certificate of {issuing}; {}; the server accepts all of them",
            subject("Root")
        );
        assert!(lines.contains(&note), "{lines}");
        assert!(!found.lines(&trusted_certificates()).contains("trusts every certificate"));
    }

    /// The first word of the verdict.
    fn word(findings: &Findings) -> String {
        findings.verdict(&trusted_certificates()).to_string().split(':').next().unwrap().to_owned()
    }

    #[test]
    fn every_finding_has_its_verdict() {
        let tls = || Reception::RefusedByTls("alert".to_owned());
        let unknown = || Reception::Unknown("no answer".to_owned());
        let refused = || Reception::of_status(403);
        let in_ = || Reception::of_status(200);
        let ours: Option<&[&str]> = Some(&[OTHER, API_GATEWAY]);
        for (hints, without, other, expected) in [
            (ours, tls(), tls(), "on"),
            (ours, refused(), tls(), "on"),
            (Some(&[][..]), refused(), refused(), "on"),
            (Some(&[OTHER][..]), tls(), tls(), "off"),
            (ours, in_(), tls(), "off"),
            (ours, tls(), in_(), "off"),
            (ours, unknown(), in_(), "off"),
            (ours, in_(), unknown(), "off"),
            (ours, unknown(), tls(), "unknown"),
            (ours, tls(), unknown(), "unknown"),
        ] {
            let findings = findings(hints, Some((without, Some(other))));
            assert_eq!(word(&findings), expected, "{findings:?}");
        }
        assert_eq!(word(&findings(None, Some((in_(), None)))), "off");
        // The refusal of an application that requires a token carries no information about certificates.
        assert_eq!(word(&findings(None, Some((refused(), None)))), "off");
        assert_eq!(word(&findings(None, None)), "off");
        assert_eq!(word(&findings(Some(&[API_GATEWAY]), None)), "on");
        assert_eq!(word(&findings(Some(&[OTHER]), None)), "off");
        // Without a call with a stranger's certificate, the verdict is unknown.
        assert_eq!(word(&findings(ours, Some((tls(), None)))), "unknown");
    }

    #[test]
    fn only_the_response_of_a_check_counts_as_refused() {
        for status in [400, 401, 403, 495, 496] {
            assert_eq!(Reception::of_status(status), Reception::RefusedByHttp(status));
        }
        for status in [200, 204, 301, 404, 421, 429, 500, 503] {
            assert_eq!(Reception::of_status(status), Reception::LetIn(status));
        }
    }

    #[test]
    fn authorities_are_listed_with_ours_first_and_are_limited() {
        let many: Vec<String> =
            (0..150).map(|number| format!("CN=Root {number}")).chain([API_GATEWAY.into()]).collect();
        let text = hinted(&many, &trusted_certificates());
        assert!(text.starts_with("C=US, L=Seattle, CN=ApiGateway (API Gateway's); CN=Root 0 (not "), "{text}");
        assert!(text.ends_with("CN=Root 8 (not API Gateway's); and 141 more"), "{text}");
        assert_eq!(hinted(&[], &trusted_certificates()), "none, which means any");
    }

    fn resource(status: serde_json::Value) -> ClientCertificateRef {
        serde_json::from_value(json!({
            "apiVersion": format!("{}/v1alpha1", crate::api::GROUP),
            "kind": "ClientCertificateRef",
            "metadata": { "name": "payments", "namespace": "backends" },
            "spec": { "clientCertificateId": "9ao60f" },
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_resource_without_certificates_has_a_reason() {
        let condition = |status: &str| {
            Condition {
            type_: "Ready".to_owned(),
            status: status.to_owned(),
            reason: "NotFound".to_owned(),
            message: "there is no such certificate".to_owned(),
            ..serde_json::from_value(json!({"type": "", "status": "", "reason": "", "message": "", "lastTransitionTime": "2026-11-24T00:00:00Z"})).unwrap()
        }
        };
        for (status, words) in [
            (json!(null), "has no status yet"),
            (json!({}), "is not Ready yet"),
            (json!({ "conditions": [condition("False")] }), "is not Ready: NotFound: there is no such certificate"),
            (json!({ "conditions": [condition("True")] }), "no certificate in status.certificates"),
        ] {
            let resource = resource(status);
            let error = trusted(&resource).unwrap_err();
            assert!(error.starts_with("ClientCertificateRef backends/payments ") && error.contains(words), "{error}");
        }
        let held = resource(json!({ "conditions": [condition("True")], "certificates": [{ "id": "9ao60f" }] }));
        let certificates = trusted(&held).unwrap();
        let lines = resource_lines(&held, certificates);
        let expected = "resource: backends/payments, Secret payments\n\
            certificate 9ao60f: C=US, L=Seattle, CN=ApiGateway, SHA-256 unknown, expires unknown\n";
        assert_eq!(lines, expected);
    }
}
