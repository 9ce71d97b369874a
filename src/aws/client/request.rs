//! Checks the names in a request before it is sent.

use crate::aws::gateway::{GatewayError, Place, Source};

/// Checks the place and the id of a certificate. The region becomes part of a host name, and the id part of a path. The
/// resource's schema checks both too, but the schema must not be the only guard: a signed request must not go to a host
/// that a user chose.
pub(super) fn check(source: &Source) -> Result<(), GatewayError> {
    check_place(&source.place)?;
    if !is_id(&source.id) {
        return Err(refused("the id is not the identifier of a client certificate"));
    }
    Ok(())
}

/// Checks a place. A role needs no check, because it is in no host name: the region determines STS's host.
pub(super) fn check_place(place: &Place) -> Result<(), GatewayError> {
    if !is_region(&place.region) {
        return Err(refused("the region is not the name of an AWS region"));
    }
    Ok(())
}

/// Checks a place and the id of a REST API, which becomes part of a path too.
pub(super) fn check_api(place: &Place, rest_api_id: &str) -> Result<(), GatewayError> {
    check_place(place)?;
    if !is_api(rest_api_id) {
        return Err(refused("the id is not the identifier of a REST API"));
    }
    Ok(())
}

fn refused(message: &str) -> GatewayError {
    GatewayError::BadRequest { message: message.into() }
}

/// `^[a-z]{2,}(-[a-z]+)+-[0-9]{1,2}$`, in at most 32 characters.
fn is_region(region: &str) -> bool {
    let all = |part: &str, is: fn(&u8) -> bool| !part.is_empty() && part.as_bytes().iter().all(is);
    let parts: Vec<&str> = region.split('-').collect();
    let [first, middle @ .., last] = parts.as_slice() else { return false };
    region.len() <= 32
        && first.len() >= 2
        && all(first, u8::is_ascii_lowercase)
        && !middle.is_empty()
        && middle.iter().all(|part| all(part, u8::is_ascii_lowercase))
        && last.len() <= 2
        && all(last, u8::is_ascii_digit)
}

/// `^[A-Za-z0-9_-]{1,64}$`
fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// `^[A-Za-z0-9]{1,64}$`
fn is_api(id: &str) -> bool {
    is_id(id) && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_of_every_partition_pass() {
        for region in
            ["us-east-1", "ap-southeast-12", "us-gov-west-1", "cn-north-1", "eusc-de-east-1", "us-isob-east-1"]
        {
            assert!(is_region(region), "{region}");
        }
    }

    #[test]
    fn a_text_that_could_name_another_host_is_no_region() {
        for region in [
            "",
            "-",
            "us",
            "us-east",
            "us-1",
            "u-east-1",
            "us--1",
            "us-east-",
            "us-east-123",
            "us-East-1",
            "us-east-1.evil.example",
            "evil.example/us-east-1",
            "us-east-1\n",
            "us-east-1#",
            "user@us-east-1",
            "us-é-1",
            "us-averyveryveryveryveryverylong-1",
        ] {
            assert!(!is_region(region), "{region:?}");
        }
    }

    #[test]
    fn an_id_is_one_plain_path_segment() {
        for id in ["9ao60f", "A_b-C", &"a".repeat(64)] {
            assert!(is_id(id), "{id}");
        }
        for id in
            ["", "a/b", "..", "a?b", "a%2fb", "a b", "é", "arn:aws:acm:us-east-1:1:certificate/x", &"a".repeat(65)]
        {
            assert!(!is_id(id), "{id}");
        }
    }

    #[test]
    fn the_id_of_an_api_has_only_letters_and_digits() {
        for id in ["a1b2c3d4e5", "A", &"a".repeat(64)] {
            assert!(is_api(id), "{id}");
        }
        for id in ["", "a_b", "a-b", "a/stages", "..", "a%2fb", "é", &"a".repeat(65)] {
            assert!(!is_api(id), "{id}");
        }
    }
}
