//! Conditions and reasons, from their enums.

use anyhow::{Result, ensure};
use client_certificate_operator::conditions::{ConditionType, Explanation, Is, Reason};

/// The conditions on the page of the target and the description.
const OF_WRITES: [ConditionType; 3] =
    [ConditionType::TargetWritten, ConditionType::SafeToSwitch, ConditionType::DescriptionSynced];

/// A section for each type of condition, with its reasons: those of the target and the description, or the others.
pub fn tables(is_of_writes: bool) -> Result<String> {
    for reason in Reason::ALL {
        ensure!(!reason.explanations().is_empty(), "the reason {reason} has no explanation");
    }
    let of_page = ConditionType::ALL.into_iter().filter(|of| OF_WRITES.contains(of) == is_of_writes);
    Ok(of_page.map(section).collect::<Result<Vec<_>>>()?.join("\n"))
}

fn section(of: ConditionType) -> Result<String> {
    ensure!(!of.meaning().is_empty(), "the condition {of} has no meaning");
    let explained = |reason: Reason| reason.explanations().into_iter().map(move |explanation| (reason, explanation));
    let mut reasons: Vec<(Reason, Explanation)> = Reason::ALL.into_iter().flat_map(explained).collect();
    reasons.retain(|(_, explanation)| explanation.of == of);
    reasons.sort_by_key(|(_, explanation)| match explanation.is {
        Is::True => 0,
        Is::Unknown => 1,
        Is::False => 2,
    });
    let mut section = format!("## {of}\n\n{}\n", of.meaning());
    if reasons.is_empty() {
        return Ok(section);
    }
    section += "\n| reason | status | cause | what to do |\n|---|---|---|---|\n";
    for (reason, Explanation { is, cause, remedy, .. }) in reasons {
        ensure!(!cause.is_empty(), "the reason {reason} of {of} has no cause");
        ensure!(!remedy.is_empty(), "the reason {reason} of {of} has no remedy");
        // Only a reason that makes a resource not Ready makes it Stalled.
        let stalls = reason.is_final() && of != ConditionType::DescriptionSynced;
        let stalled = if stalls { ", Stalled" } else { "" };
        section += &format!("| `{reason}` | {is}{stalled} | {cause} | {remedy} |\n");
    }
    Ok(section)
}
