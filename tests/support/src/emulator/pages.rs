//! GetClientCertificates: the certificates of an account and region in pages, and pages that are wrong.

use serde_json::{Value, json};

use super::answer::Refusal;
use super::api::{bad_request, elements};
use super::faults::FaultKind;
use super::state::{Location, State};

/// A page. It begins after an id and not at a number, so what comes and goes meanwhile moves nothing else. The position
/// is opaque to clients, so nothing else passes for one.
pub(super) fn page(state: &State, of: &Location, query: &str, fault: Option<&FaultKind>) -> Result<Value, Refusal> {
    let parameter =
        |name: &str| form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value);
    let limit = match parameter("limit").map(|limit| limit.parse::<usize>()) {
        None => 25,
        Some(Ok(limit @ 1..=500)) => limit,
        Some(_) => return Err(bad_request("Invalid limit parameter: it must be between 1 and 500")),
    };
    let position = parameter("position");
    let after = match &position {
        None => String::new(),
        Some(position) => id_of(position).ok_or_else(|| bad_request("Invalid position parameter"))?,
    };

    let inner = state.lock();
    let all = || inner.certificates.iter().filter(|(at, _)| at.account == of.account && at.region == of.region);
    let mut rest = all().filter(|(at, _)| at.id > after).map(|(_, issued)| &issued.certificate);
    let mut page: Vec<_> = rest.by_ref().take(limit).collect();
    let mut next = rest.next().and(page.last()).map(|last| position_after(&last.id));
    match fault {
        Some(FaultKind::RepeatPosition) => {
            let first = || position_after(page.last().map_or("", |last| &last.id));
            next = Some(position.map_or_else(first, |position| position.into_owned()));
        }
        Some(FaultKind::EndlessPages) => {
            if page.is_empty() {
                page = all().map(|(_, issued)| &issued.certificate).take(limit).collect();
            }
            let last = page.last().map_or("", |last| &last.id);
            next = Some(format!("{}~{:016x}", position_after(last), fastrand::u64(..)));
        }
        _ => {}
    }
    let mut answer = json!({ "item": page.iter().map(|certificate| elements(certificate)).collect::<Vec<_>>() });
    if let Some(next) = next {
        answer["position"] = next.into();
    }
    if let Some(FaultKind::WithoutItems) = fault {
        answer.as_object_mut().unwrap().remove("item");
    }
    Ok(answer)
}

fn position_after(id: &str) -> String {
    format!("after-{id}")
}

/// What is behind `~` only makes positions differ.
fn id_of(position: &str) -> Option<String> {
    position.strip_prefix("after-")?.split('~').next().map(str::to_owned)
}
