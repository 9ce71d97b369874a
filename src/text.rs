//! Prepares text from AWS and the API server for a status: one short line, without the parts that differ between
//! errors. Also writes bytes as text.

const MAX_CHARS: usize = 200;

/// Removes the parts of a message that differ between errors: request ids, UUIDs and times. These are the construct
/// `Request ID: …`, and every word of eight or more characters with a digit. Thus repeated errors have the same text,
/// and the status is not written again.
pub fn stable(message: &str) -> String {
    let printable: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut words = printable.split_whitespace().peekable();
    let mut kept: Vec<&str> = Vec::new();
    while let Some(word) = words.next() {
        let name = letters(word);
        if name == "request" && words.peek().is_some_and(|next| letters(next) == "id") {
            words.next();
            words.next();
        } else if name.ends_with("requestid") {
            words.next();
        } else if !name.contains("requestid") && !looks_random(word) {
            kept.push(word);
        }
    }
    let text: String = kept.join(" ").chars().take(MAX_CHARS).collect();
    let text = text.trim_end();
    if text.is_empty() { "no reason given".to_owned() } else { text.to_owned() }
}

fn letters(word: &str) -> String {
    word.chars().filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_lowercase()).collect()
}

fn looks_random(word: &str) -> bool {
    word.chars().count() >= 8 && word.chars().any(|c| c.is_ascii_digit())
}

/// Bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_do_not_change() {
        assert_eq!(stable("Invalid patch path /description2"), "Invalid patch path");
        assert_eq!(stable("Invalid  patch\n path."), "Invalid patch path.");
        assert_eq!(stable("Limit 500 of page 3"), "Limit 500 of page 3");
    }

    #[test]
    fn request_ids_are_removed_in_every_form() {
        for text in [
            "Invalid id (Request ID: 1b0c4c3e-0d6c-4b5a-9a0e-000000000001)",
            "Invalid id (request id: abcdef)",
            "Invalid id RequestId: abcdef",
            "Invalid id x-amzn-RequestId=abcdefgh",
            "Invalid id requestId:abc",
            "Invalid id 1b0c4c3e-0d6c-4b5a-9a0e-000000000001",
            "Invalid id 2026-11-24T07:31:57Z",
            "Invalid id 1764000000.123",
        ] {
            assert_eq!(stable(text), "Invalid id", "{text}");
        }
        assert_eq!(
            stable("Bad (Service: ApiGateway, Status Code: 400, Request ID: b1-c2, Extended Request ID: abc=)"),
            "Bad (Service: ApiGateway, Status Code: 400, Extended"
        );
    }

    #[test]
    fn two_refusals_that_differ_by_their_ids_have_the_same_text() {
        let text = |id: &str| stable(&format!("No: {id} at 12:34:5{} (Request ID: {id})", id.len() % 10));
        assert_eq!(text("0f8a31c9"), text("77777777-aaaa"));
    }

    #[test]
    fn the_text_is_short_and_never_empty() {
        assert_eq!(stable("é".repeat(500).as_str()).chars().count(), 200);
        assert_eq!(stable(""), "no reason given");
        assert_eq!(stable(" \r\n\u{7f} "), "no reason given");
        assert_eq!(stable("RequestId: 1234"), "no reason given");
    }
}
