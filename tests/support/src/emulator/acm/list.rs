//! ListCertificates and ListTagsForCertificate.

use serde::Deserialize;
use serde_json::{Value, json};
use x509_parser::pem::parse_x509_pem;

use super::{Acm, Held, Refusal, import, parse, parsed};
use crate::emulator::access::Caller;

/// The key types that ACM lists by default.
const USUAL_KEY_TYPES: [&str; 2] = ["RSA_1024", "RSA_2048"];
const MOST: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct List {
    max_items: Option<usize>,
    next_token: Option<String>,
    #[serde(default)]
    includes: Includes,
}

#[derive(Default, Deserialize)]
struct Includes {
    #[serde(default, rename = "keyTypes")]
    key_types: Vec<String>,
}

/// The caller's certificates in a region, by ARN.
pub(super) fn perform(acm: &Acm, caller: &Caller, region: &str, body: &[u8]) -> Result<Value, Refusal> {
    let List { max_items, next_token, includes } = parsed(body)?;
    let here = acm.certificates.iter().filter(|(arn, held)| {
        let is_here = parse(arn).is_some_and(|parts| (parts.region, parts.account) == (region, &caller.account));
        is_here && next_token.as_ref().is_none_or(|token| *arn > token) && is_asked_for(held, &includes.key_types)
    });
    let mut arns = here.map(|(arn, _)| arn);
    let page: Vec<_> = arns.by_ref().take(max_items.unwrap_or(MOST).clamp(1, MOST)).collect();
    let summaries: Vec<_> = page.iter().map(|arn| json!({ "CertificateArn": arn, "Type": "IMPORTED" })).collect();
    let mut answer = json!({ "CertificateSummaryList": summaries });
    if arns.next().is_some() {
        answer["NextToken"] = json!(page.last());
    }
    Ok(answer)
}

fn is_asked_for(held: &Held, key_types: &[String]) -> bool {
    let block = parse_x509_pem(held.leaf.certificate.as_bytes()).map(|(_, block)| block);
    let key_type = block.ok().and_then(|block| block.parse_x509().ok().map(|leaf| import::key_type(&leaf)));
    let key_type = key_type.unwrap_or_default();
    match key_types {
        [] => USUAL_KEY_TYPES.contains(&key_type.as_str()),
        key_types => key_types.contains(&key_type),
    }
}

/// The answer of ListTagsForCertificate.
pub(super) fn tags(held: &Held) -> Value {
    let tags: Vec<_> = held.tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
    json!({ "Tags": tags })
}
