//! Conditions and reasons, from their enums.

use client_certificate_operator::conditions::{ConditionType, Explanation, Is, Reason};

/// A section for each type of condition, with its reasons.
pub fn tables() -> String {
    ConditionType::ALL.map(section).join("\n")
}

fn section(of: ConditionType) -> String {
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
        return section;
    }
    section += "\n| reason | status | cause | what to do |\n|---|---|---|---|\n";
    for (reason, Explanation { is, cause, remedy, .. }) in reasons {
        // Only a reason that makes a resource not Ready makes it Stalled.
        let stalls = reason.is_final() && of != ConditionType::DescriptionSynced;
        let stalled = if stalls { ", Stalled" } else { "" };
        section += &format!("| `{reason}` | {is}{stalled} | {cause} | {remedy} |\n");
    }
    section
}
