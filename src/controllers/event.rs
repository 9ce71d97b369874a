//! An event of a Kubernetes object. Pure.

/// The greatest length of a note, in bytes.
const NOTE_LENGTH: usize = 900; // Kubernetes allows 1024 bytes

/// An event, as a plain value that tests can compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whether the type is Warning instead of Normal.
    pub is_warning: bool,
    pub reason: String,
    /// The action of the operator.
    pub action: &'static str,
    pub note: String,
}

impl Event {
    /// An event of type Normal.
    pub fn normal(reason: &str, action: &'static str, note: String) -> Self {
        Event { is_warning: false, reason: reason.to_owned(), action, note: cut(note) }
    }

    /// An event of type Warning.
    pub fn warning(reason: String, action: &'static str, note: String) -> Self {
        Event { is_warning: true, reason, action, note: cut(note) }
    }

    /// The event of a sent description. `restores` means that another writer had changed the description.
    pub fn description(from: &str, to: &str, restores: bool) -> Self {
        if restores {
            let note =
                format!("restored the description {to:?}, which another writer had changed to {from:?} in API Gateway");
            Self::normal("DescriptionRestored", "UpdateDescription", note)
        } else {
            let note = format!("changed the description in API Gateway from {from:?} to {to:?}");
            Self::normal("DescriptionUpdated", "UpdateDescription", note)
        }
    }
}

fn cut(note: String) -> String {
    match note.char_indices().find(|(at, _)| *at >= NOTE_LENGTH) {
        Some((at, _)) => format!("{}…", &note[..at]),
        None => note,
    }
}
