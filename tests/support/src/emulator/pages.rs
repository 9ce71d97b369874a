//! Lists in pages, and faulty pages.

use serde_json::{Value, json};

use super::answer::Refusal;
use super::api::bad_request;
use super::faults::FaultKind;

/// A page. It begins after an id instead of at a number, so that additions and deletions between pages do not shift
/// other items. Positions are opaque to clients, so any other text is invalid.
pub(super) fn page<T>(
    all: &[(&str, &T)],
    elements: impl Fn(&str, &T) -> Value,
    query: &str,
    fault: Option<&FaultKind>,
) -> Result<Value, Refusal> {
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

    let mut rest = all.iter().filter(|(id, _)| *id > after.as_str());
    let mut page: Vec<_> = rest.by_ref().take(limit).collect();
    let mut next = rest.next().and(page.last()).map(|(last, _)| position_after(last));
    match fault {
        Some(FaultKind::RepeatPosition) => {
            let first = || position_after(page.last().map_or("", |(last, _)| last));
            next = Some(position.map_or_else(first, |position| position.into_owned()));
        }
        Some(FaultKind::EndlessPages) => {
            if page.is_empty() {
                page = all.iter().take(limit).collect();
            }
            let last = page.last().map_or("", |(last, _)| last);
            next = Some(format!("{}~{:016x}", position_after(last), fastrand::u64(..)));
        }
        _ => {}
    }
    let mut answer = json!({ "item": page.iter().map(|(id, item)| elements(id, item)).collect::<Vec<_>>() });
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

/// The id in a position. The part after `~` only makes positions differ.
fn id_of(position: &str) -> Option<String> {
    position.strip_prefix("after-")?.split('~').next().map(str::to_owned)
}
