//! Text that others wrote, made fit for a status: no request ids, no times, one line, not long.
//!
//! A status is written when it differs. A message that changed with every failed call would write it at every one.

/// How much of somebody else's message a status keeps, in characters.
const MAX_LENGTH: usize = 200;
/// A word this long that holds a digit is taken for an id or a time.
const ID_LENGTH: usize = 8;

/// The part of a message that stays the same when the same thing fails again; `fallback` where nothing is left.
pub fn stable(message: &str, fallback: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for word in message.split_whitespace() {
        let core = word.trim_matches(|c: char| !c.is_alphanumeric());
        let is_id = core.len() >= ID_LENGTH && core.chars().any(|c| c.is_ascii_digit());
        if is_id {
            // `(Request ID: 8f2c…)`: the label goes with the id that it announces.
            while kept.last().is_some_and(|last| announces_id(last)) {
                kept.pop();
            }
            continue;
        }
        kept.push(word);
    }
    let text: String = kept.join(" ").chars().filter(|c| !c.is_control()).take(MAX_LENGTH).collect();
    if text.chars().any(char::is_alphanumeric) { text } else { fallback.to_owned() }
}

fn announces_id(word: &str) -> bool {
    let core: String = word.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_ascii_lowercase();
    matches!(core.as_str(), "request" | "requestid" | "id" | "xamznrequestid" | "traceid" | "trace" | "at")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_goes_and_takes_its_label_along() {
        for message in [
            "Invalid patch path (Request ID: 8f2c1f0e-77aa-4be2-9c55-0c1d2e3f4a5b)",
            "Invalid patch path (RequestId: 8f2c1f0e77aa4be29c550c1d2e3f4a5b)",
            "Invalid patch path at 2026-11-24T07:16:00Z",
        ] {
            assert_eq!(stable(message, "?"), "Invalid patch path", "{message}");
        }
    }

    #[test]
    fn an_ordinary_message_stays_as_it_is() {
        let message = "Description is too long: at most 1024 characters.";
        assert_eq!(stable(message, "?"), message);
    }

    #[test]
    fn what_is_left_is_one_short_line_and_never_empty() {
        assert_eq!(stable("one\n two\t\u{7}three", "?"), "one two three");
        assert_eq!(stable(&"word ".repeat(500), "?").chars().count(), MAX_LENGTH);
        assert_eq!(stable(" 8f2c1f0e77aa ", "nothing was said"), "nothing was said");
        assert_eq!(stable("(:)", "nothing was said"), "nothing was said");
    }
}
