//! ACM certificates, and the operations of ACM on them. The emulator checks requests as strictly as ACM does.

mod import;
mod list;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use client_certificate_operator::aws::gateway::Place;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::{Caller, HOME_ACCOUNT};
use super::answer::Refusal;
use super::faults::FaultKind;
use super::limit::{Limits, RateLimit};
use super::state::{Inner, Location, State};
use super::{Emulator, request_id};
use crate::private_ca::Leaf;
use crate::script::Operation;
pub(crate) use import::refusal as acm_refusal;

const TARGET: &str = "CertificateManager.";
const ISSUED: &str = "ISSUED";
/// ACM never had a certificate with these.
const NEVER_ISSUED: [&str; 3] = ["PENDING_VALIDATION", "FAILED", "VALIDATION_TIMED_OUT"];

/// What ACM holds in every account and region, and how many calls it takes.
#[derive(Default)]
pub(super) struct Acm {
    /// By ARN.
    certificates: BTreeMap<String, Held>,
    pub(super) limits: Limits,
    pub(super) throttled: usize,
}

struct Held {
    leaf: Leaf,
    /// What it was before, and until when.
    formers: Vec<(Leaf, Instant)>,
    /// In ACM's words.
    status: String,
    created: Timestamp,
    imported: Timestamp,
    tags: BTreeMap<String, String>,
}

impl Held {
    /// A certificate that has ended shows so by itself.
    fn status(&self) -> &str {
        let is_expired = self.status == ISSUED && self.leaf.not_after <= Timestamp::now();
        if is_expired { "EXPIRED" } else { &self.status }
    }
}

impl Emulator {
    /// An ARN that no certificate has, in a region of the home account.
    pub fn new_acm_arn(&self, region: &str) -> String {
        new_acm_arn(region, HOME_ACCOUNT)
    }

    /// Imports a certificate in a region of the home account; answers its ARN.
    pub fn import_acm(&self, region: &str, leaf: Leaf) -> String {
        let arn = self.new_acm_arn(region);
        self.put_acm(&arn, leaf);
        arn
    }

    /// Imports a certificate under an ARN, of any account and region, in the place of what was there.
    pub fn put_acm(&self, arn: &str, leaf: Leaf) {
        assert_eq!(acm_arn_flaw(arn), None);
        self.state.lock().acm.put(arn, leaf);
    }

    /// The certificate that ACM has under an ARN, with the key that it would keep to itself.
    pub fn acm_leaf(&self, arn: &str) -> Option<Leaf> {
        self.state.lock().acm.certificates.get(arn).map(|held| held.leaf.clone())
    }

    /// Has ACM give a certificate another status, in its words, for example `PENDING_VALIDATION`; answers whether it is
    /// there.
    pub fn set_acm_status(&self, arn: &str, status: &str) -> bool {
        let mut inner = self.state.lock();
        inner.acm.certificates.get_mut(arn).map(|held| held.status = status.to_owned()).is_some()
    }

    /// Deletes a certificate as a user does: ACM's refusal comes back where a stage presents it, or where it is missing.
    pub fn delete_acm(&self, arn: &str) -> Result<(), &'static str> {
        delete(&mut self.state.lock(), arn).map_err(|refusal| refusal.name)
    }

    /// The ARNs of the certificates of every account and region.
    pub fn acm_arns(&self) -> Vec<String> {
        self.state.lock().acm.certificates.keys().cloned().collect()
    }

    /// The tags of a certificate.
    pub fn acm_tags(&self, arn: &str) -> Option<BTreeMap<String, String>> {
        self.state.lock().acm.certificates.get(arn).map(|held| held.tags.clone())
    }

    /// Takes a certificate away, whoever presents it; answers whether it was there.
    pub fn lose_acm(&self, arn: &str) -> bool {
        self.state.lock().acm.certificates.remove(arn).is_some()
    }

    /// Limits what ACM takes of every account from now on, apart from API Gateway; none, to limit nobody.
    pub fn set_acm_rate_limit(&self, limit: Option<RateLimit>) {
        self.state.lock().acm.limits.set(limit);
    }

    /// How many calls to ACM its rate limit refused.
    pub fn acm_throttled(&self) -> usize {
        self.state.lock().acm.throttled
    }
}

impl Acm {
    /// Puts a certificate under an ARN, in place of an existing one.
    fn put(&mut self, arn: &str, leaf: Leaf) {
        let now = Timestamp::now();
        match self.certificates.get_mut(arn) {
            Some(held) => {
                let former = std::mem::replace(&mut held.leaf, leaf);
                held.formers.push((former, Instant::now()));
                (held.status, held.imported) = (ISSUED.to_owned(), now);
            }
            None => {
                let (status, formers, tags) = (ISSUED.to_owned(), Vec::new(), BTreeMap::new());
                let held = Held { leaf, formers, status, created: now, imported: now, tags };
                self.certificates.insert(arn.to_owned(), held);
            }
        }
    }

    /// What is presented under an ARN, first, and what else was within this time. None, where there is nothing.
    pub(super) fn presented_within(&self, arn: &str, propagation: Duration) -> Option<Vec<Leaf>> {
        let held = self.certificates.get(arn)?;
        let formers = held.formers.iter().rev().take_while(|(_, until)| until.elapsed() < propagation);
        Some(std::iter::once(&held.leaf).chain(formers.map(|(former, _)| former)).cloned().collect())
    }

    /// Whether a stage of an API can be switched to an ARN.
    pub(super) fn is_presentable(&self, arn: &str, api: &Location) -> bool {
        let is_here = parse(arn).is_some_and(|parts| (parts.region, parts.account) == (&api.region, &api.account));
        is_here && self.certificates.get(arn).is_some_and(|held| held.status() == ISSUED)
    }
}

/// A request to ACM.
pub(super) struct Asked<'a> {
    pub(super) operation: Operation,
    pub(super) region: &'a str,
    pub(super) arn: Option<&'a str>,
    pub(super) body: &'a [u8],
}

/// The operation that a header `X-Amz-Target` names, and the ARN in the body.
pub(super) fn route(target: &str, content_type: &str, body: &[u8]) -> Result<(Operation, Option<String>), Refusal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Named {
        certificate_arn: Option<String>,
    }
    let operation = match target.strip_prefix(TARGET) {
        Some("DescribeCertificate") => Operation::DescribeCertificate,
        Some("GetCertificate") => Operation::GetCertificate,
        Some("ImportCertificate") => Operation::ImportCertificate,
        Some("DeleteCertificate") => Operation::DeleteCertificate,
        Some("ListCertificates") => Operation::ListCertificates,
        Some("ListTagsForCertificate") => Operation::ListTagsForCertificate,
        _ => return Err(Refusal::new(400, "UnknownOperationException", "")),
    };
    if content_type != "application/x-amz-json-1.1" {
        return Err(unreadable());
    }
    let Named { certificate_arn } = parsed(body)?;
    Ok((operation, certificate_arn))
}

fn unreadable() -> Refusal {
    Refusal::new(400, "SerializationException", "")
}

fn parsed<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|_| unreadable())
}

/// Does what is asked; answers the body.
pub(super) fn perform(
    state: &State,
    caller: &Caller,
    asked: &Asked<'_>,
    fault: Option<&FaultKind>,
) -> Result<Value, Refusal> {
    let Asked { operation, region, arn, body } = *asked;
    let mut inner = state.lock();
    let action = format!("acm:{operation:?}");
    match (operation, arn) {
        (Operation::ListCertificates, _) => {
            inner.access.check(caller, operation, &action, "*")?;
            return list::perform(&inner.acm, caller, region, body);
        }
        (Operation::ImportCertificate, None) => {
            inner.access.check(caller, operation, &action, "*")?;
            return import::perform(&mut inner.acm, &new_acm_arn(region, &caller.account), body);
        }
        _ => {}
    }
    // ACM refuses a missing ARN in the same way as an empty one.
    let arn = arn.unwrap_or_default();
    if let Some((name, message)) = flaw(arn) {
        return Err(Refusal::new(400, name, message));
    }
    inner.access.check(caller, operation, &action, arn)?;
    let is_here = parse(arn).is_some_and(|parts| (parts.region, parts.account) == (region, &caller.account));
    let held = inner.acm.certificates.get(arn).filter(|_| is_here).ok_or_else(|| not_found(arn))?;
    match operation {
        Operation::GetCertificate => pem(arn, held, fault),
        Operation::ListTagsForCertificate => Ok(list::tags(held)),
        Operation::ImportCertificate => import::perform(&mut inner.acm, arn, body),
        Operation::DeleteCertificate => delete(&mut inner, arn).map(|()| json!({})),
        _ => Ok(json!({ "Certificate": detail(&inner, arn, held) })),
    }
}

fn not_found(arn: &str) -> Refusal {
    Refusal::new(400, "ResourceNotFoundException", format!("Could not find certificate {arn}."))
}

/// Deletes a certificate, unless a stage presents it.
fn delete(inner: &mut Inner, arn: &str) -> Result<(), Refusal> {
    if !in_use_by(inner, arn).is_empty() {
        return Err(Refusal::new(400, "ResourceInUseException", format!("Certificate {arn} is in use.")));
    }
    inner.acm.certificates.remove(arn).map(|_| ()).ok_or_else(|| not_found(arn))
}

/// The answer of GetCertificate.
fn pem(arn: &str, held: &Held, fault: Option<&FaultKind>) -> Result<Value, Refusal> {
    if NEVER_ISSUED.contains(&held.status()) {
        let message = format!("Certificate {arn} is not in a state that allows it to be retrieved.");
        return Err(Refusal::new(400, "RequestInProgressException", message));
    }
    let mut answer = json!({});
    if !matches!(fault, Some(FaultKind::WithoutPem { certificate }) if certificate == arn) {
        answer["Certificate"] = held.leaf.certificate.as_str().into();
    }
    if let Some(chain) = &held.leaf.chain {
        answer["CertificateChain"] = chain.as_str().into();
    }
    Ok(answer)
}

fn detail(inner: &Inner, arn: &str, held: &Held) -> Value {
    let mut detail = json!({
        "CertificateArn": arn,
        "CreatedAt": held.created.as_second(),
        "InUseBy": in_use_by(inner, arn),
        "RenewalEligibility": "INELIGIBLE",
        "Status": held.status(),
        "Type": "IMPORTED",
    });
    if !NEVER_ISSUED.contains(&held.status()) {
        detail["ImportedAt"] = held.imported.as_second().into();
        detail["NotBefore"] = held.leaf.not_before.as_second().into();
        detail["NotAfter"] = held.leaf.not_after.as_second().into();
        detail["Serial"] = held.leaf.serial_number.as_str().into();
    }
    detail
}

/// The ARNs of the stages that present a certificate.
fn in_use_by(inner: &Inner, arn: &str) -> Vec<String> {
    let stages = inner.apis.iter().flat_map(|(at, api)| api.presenting(arn).map(move |stage| (at, stage)));
    let list = |at: &Location| Place::own(&at.region).stages_arn(&at.id);
    stages.map(|(at, stage)| format!("{}/{stage}", list(at))).collect()
}

/// An ARN that no certificate has.
pub(crate) fn new_acm_arn(region: &str, account: &str) -> String {
    let list = Place::own(region).list_arn();
    let partition = list.split(':').nth(1).unwrap();
    format!("arn:{partition}:acm:{region}:{account}:certificate/{}", request_id())
}

/// What is wrong with the form of an ARN, as ACM puts it.
pub(crate) fn acm_arn_flaw(arn: &str) -> Option<String> {
    flaw(arn).map(|(_, message)| message)
}

/// ACM first looks at the form of any ARN, then for its own.
fn flaw(arn: &str) -> Option<(&'static str, String)> {
    const PATTERN: &str = r"arn:[\w+=/,.@-]+:[\w+=/,.@-]+:[\w+=/,.@-]*:[0-9]+:[\w+=,.@-]+(/[\w+=,.@-]+)*";
    let all = |text: &str, more: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || more.contains(c));
    let parts: Vec<_> = arn.split(':').collect();
    let is_arn = match parts[..] {
        ["arn", partition, service, region, account, resource] => {
            [partition, service, region].iter().all(|part| all(part, "+=/,.@-"))
                && !partition.is_empty()
                && !service.is_empty()
                && !account.is_empty()
                && account.bytes().all(|byte| byte.is_ascii_digit())
                && resource.split('/').all(|part| !part.is_empty() && all(part, "+=,.@-"))
        }
        _ => false,
    };
    if !is_arn || !(20..=2048).contains(&arn.len()) {
        let must = format!("Member must satisfy regular expression pattern: {PATTERN}");
        let message = format!(
            "1 validation error detected: Value '{arn}' at 'certificateArn' failed to satisfy constraint: {must}"
        );
        return Some(("ValidationException", message));
    }
    parse(arn).is_none().then(|| ("InvalidArnException", format!("Invalid ARN: {arn}")))
}

struct Arn<'a> {
    region: &'a str,
    account: &'a str,
}

/// The parts of an ARN that can be a certificate's.
fn parse(arn: &str) -> Option<Arn<'_>> {
    let ["arn", _, "acm", region, account, resource] = arn.split(':').collect::<Vec<_>>()[..] else { return None };
    let is_certificate = resource.strip_prefix("certificate/").is_some_and(|id| !id.is_empty() && !id.contains('/'));
    (is_certificate && !region.is_empty() && account.len() == 12).then_some(Arn { region, account })
}
