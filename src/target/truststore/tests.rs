use std::io::Write;
use std::process::{Command, Stdio};

use super::*;
use crate::certificate::Certificate;
use crate::fixtures::{OTHER_PEM, PEM};

fn password(text: &str) -> Password {
    Password::made(text.as_bytes()).unwrap()
}

fn sealed(text: &str, last: Option<&Arc<Truststore>>, pem: &str) -> Arc<Truststore> {
    let certificate = Certificate::parse(pem).unwrap();
    let blocks: Vec<&Block> = certificate.blocks().collect();
    TruststoreInput { password: Some(password(text)), last }.truststore(&blocks).unwrap()
}

/// OpenSSL's result for a truststore: whether the file and the password are valid, and the output.
fn by_openssl(truststore: &Truststore, password: &str) -> (bool, String) {
    let mut openssl = Command::new("openssl")
        .args(["pkcs12", "-info", "-nokeys", "-passin", &format!("pass:{password}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(truststore.bytes()).unwrap();
    let output = openssl.wait_with_output().unwrap();
    let text = [output.stderr, output.stdout].map(|text| String::from_utf8(text).unwrap()).concat();
    (output.status.success(), text)
}

#[test]
fn openssl_finds_each_certificate_and_checks_the_password() {
    // 31 characters and the final zero fill a whole block. 32 characters do not.
    for text in ["p", "0123456789abcdef0123456789abcdef", &"p".repeat(31), &"~ ".repeat(64)] {
        let truststore = sealed(text, None, &format!("{PEM}{OTHER_PEM}"));
        let (is_whole, shown) = by_openssl(&truststore, text);
        assert!(is_whole, "{shown}");
        let mac = "MAC: sha256, Iteration 10000";
        for words in [mac, "friendlyName: api-gateway-32f001778fc148b4", "friendlyName: api-gateway-f94a621f0a5b27a4"] {
            assert!(shown.contains(words), "{words:?} is not in: {shown}");
        }
        for pem in [PEM, OTHER_PEM] {
            assert!(shown.contains(pem), "{shown}");
        }
        assert!(!by_openssl(&truststore, "another").0);
    }
}

#[test]
fn equal_input_makes_equal_bytes_and_other_input_makes_other_bytes() {
    let first = sealed("changeit", None, PEM);
    assert_eq!(first, sealed("changeit", None, PEM));
    let other_password = sealed("changed!", None, PEM);
    assert_ne!(first.bytes(), other_password.bytes());
    assert_eq!(first.salt, other_password.salt, "a salt that came from the password would give it away");
    let other = sealed("changeit", None, OTHER_PEM);
    assert_ne!(first.salt, other.salt);
    assert_ne!(sealed("changeit", None, &format!("{PEM}{OTHER_PEM}")).bytes(), other.bytes());
}

#[test]
fn a_truststore_is_built_again_only_if_its_input_changes() {
    let bundle = format!("{PEM}{OTHER_PEM}");
    let mut last: Option<Arc<Truststore>> = None;
    let mut made = 0;
    for (password, pem) in [
        ("changeit", PEM),
        ("changeit", PEM),
        ("changeit", PEM),
        ("changed!", PEM),
        ("changed!", PEM),
        ("changed!", &bundle),
        ("changed!", &bundle),
        ("changed!", PEM),
    ] {
        let truststore = sealed(password, last.as_ref(), pem);
        made += usize::from(last.as_ref().is_none_or(|last| !Arc::ptr_eq(last, &truststore)));
        last = Some(truststore);
    }
    assert_eq!(made, 4);
}

#[test]
fn debug_output_has_no_password() {
    let truststore = sealed("changeit", None, PEM);
    let input = TruststoreInput { password: Some(password("changeit")), last: Some(&truststore) };
    assert!(!format!("{input:?}").contains("changeit"), "{input:?}");
}
