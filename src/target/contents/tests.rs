use super::*;
use crate::api::{OBJECT_ANNOTATION, OWNER_ANNOTATION, SecretKeyRef, Target};
use crate::fixtures::{
    OTHER_FINGERPRINT, OTHER_PEM, OTHER_SHA1, OTHER_SPKI, PEM, PEM_FINGERPRINT, PEM_SHA1, PEM_SPKI, resource, secret_of,
};
use crate::target::{Desired, Password, TargetObject, Trusted, TruststoreInput, render};
use operator_testing::certificates::{NewCertificate, issue};
use operator_testing::private_ca::{NewLeaf, PrivateCa};
use std::collections::BTreeMap;

const NOW: &str = "2026-11-24T07:16:00Z";

fn with_target(target: Target) -> ClientCertificateRef {
    let mut resource = resource("payments");
    resource.spec.target = target;
    resource
}

fn with_keys(keys: &[(&str, Content)]) -> ClientCertificateRef {
    let keys = keys.iter().map(|(key, content)| ((*key).to_owned(), *content)).collect();
    with_target(Target { keys: Some(keys), ..Target::default() })
}

fn with_preset(preset: Preset) -> ClientCertificateRef {
    with_target(Target { preset: Some(preset), ..Target::default() })
}

fn input() -> TruststoreInput<'static> {
    TruststoreInput { password: Password::made(b"changeit"), last: None }
}

/// The desired target with these certificates. The first is the main one.
fn rendered(resource: &ClientCertificateRef, pems: &[&str]) -> Desired {
    let certificates: Vec<_> = pems.iter().map(|pem| Certificate::parse(pem).unwrap()).collect();
    let trusted = Trusted { main: certificates.first(), additional: certificates.iter().skip(1).collect() };
    render(resource, &trusted, &input(), NOW.parse().unwrap()).unwrap()
}

fn text(content: Content, pems: &[&str]) -> String {
    let desired = rendered(&with_keys(&[("key", content)]), pems);
    String::from_utf8(desired.data["key"].clone()).unwrap()
}

/// A certificate that expired long ago.
fn expired() -> String {
    let new = NewCertificate { not_after: Some("2021-01-01T00:00:00Z".parse().unwrap()), ..NewCertificate::new() };
    Certificate::parse(&issue(new.shared_key()).certificate.pem).unwrap().main().pem.clone()
}

#[test]
fn each_content_has_its_form_and_the_order_of_the_bundle() {
    let both = &[PEM, OTHER_PEM];
    let upper = |text: &str| text.to_uppercase();
    for (content, expected) in [
        (Content::Bundle, format!("{PEM}{OTHER_PEM}")),
        (Content::Active, PEM.to_owned()),
        (Content::Sha256Pins, format!("{}\n{}\n", upper(PEM_FINGERPRINT), upper(OTHER_FINGERPRINT))),
        (Content::Sha1Pins, format!("{PEM_SHA1}\n{OTHER_SHA1}\n")),
        (Content::SpkiPins, format!("{PEM_SPKI}\n{OTHER_SPKI}\n")),
        (Content::NginxMap, format!("{PEM_SHA1} 1;\n{OTHER_SHA1} 1;\n")),
    ] {
        assert_eq!(text(content, both), expected, "{content:?}");
        let twice = format!("{PEM}{OTHER_PEM}");
        assert_eq!(text(content, &[&twice, PEM, OTHER_PEM]), expected, "{content:?}: blocks of one, each once");
    }
}

#[test]
fn the_file_for_envoy_has_hashes_and_no_authority() {
    let text = text(Content::EnvoySds, &[PEM, OTHER_PEM]);
    assert!(text.ends_with("}\n") && !text.contains("trusted_ca"), "{text}");
    let response: serde_json::Value = serde_json::from_str(&text).unwrap();
    let secret = &response["resources"][0];
    assert_eq!(secret["@type"], "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret");
    assert_eq!(secret["name"], "api-gateway");
    let expected = serde_json::json!({ "verify_certificate_hash": [PEM_FINGERPRINT, OTHER_FINGERPRINT] });
    assert_eq!(secret["validation_context"], expected);
}

#[test]
fn every_content_except_active_omits_expired_certificates() {
    let expired = expired();
    let main = format!("{PEM}{expired}");
    assert_eq!(text(Content::Sha1Pins, &[&main, &expired]), format!("{PEM_SHA1}\n"), "a block among others too");
    for content in [
        Content::Bundle,
        Content::Sha256Pins,
        Content::Sha1Pins,
        Content::SpkiPins,
        Content::NginxMap,
        Content::EnvoySds,
    ] {
        assert_eq!(text(content, &[&expired, OTHER_PEM]), text(content, &[OTHER_PEM]), "{content:?}");
    }
    let truststore = |pems: &[&str]| rendered(&with_preset(Preset::Pkcs12), pems).data;
    assert_eq!(truststore(&[&expired, OTHER_PEM]), truststore(&[OTHER_PEM]));
    assert_eq!(text(Content::Active, &[&expired, PEM]), expired);
}

#[test]
fn no_content_is_empty() {
    let main = Certificate::parse(PEM).unwrap();
    for content in
        [Content::Bundle, Content::Sha256Pins, Content::Sha1Pins, Content::SpkiPins, Content::NginxMap, Content::Pkcs12]
    {
        assert_eq!(
            value(content, Some(&main), &Valid { certificates: vec![], anchors: vec![] }, None),
            None,
            "{content:?}"
        );
    }
    assert_eq!(
        value(Content::Active, None, &Valid { certificates: vec![main.main()], anchors: vec![main.main()] }, None),
        None
    );
}

#[test]
fn each_preset_has_its_key_and_its_type() {
    for (preset, key, type_) in [
        (Preset::CaCrt, "ca.crt", "Opaque"),
        (Preset::NginxOrgCa, "ca.crt", "nginx.org/ca"),
        (Preset::TlsCrt, "tls.crt", "Opaque"),
        (Preset::IstioCacert, "cacert", "Opaque"),
    ] {
        let desired = rendered(&with_preset(preset), &[PEM]);
        assert_eq!(desired.type_, Some(type_), "{preset:?}");
        assert_eq!(desired.data, BTreeMap::from([(key.to_owned(), PEM.as_bytes().to_vec())]), "{preset:?}");
        assert_eq!(desired.annotations.keys().collect::<Vec<_>>(), [OBJECT_ANNOTATION, OWNER_ANNOTATION]);
    }
    let desired = rendered(&with_preset(Preset::Pkcs12), &[PEM]);
    assert_eq!(desired.data.keys().collect::<Vec<_>>(), ["truststore.p12", "truststore.password"]);
    assert_eq!(desired.data["truststore.password"], b"changeit");
    assert!(!format!("{desired:?}").contains("changeit"), "{desired:?}");
}

#[test]
fn a_users_password_is_not_copied_and_a_generated_password_has_the_key_of_the_spec() {
    let mut resource = with_keys(&[("store.p12", Content::Pkcs12), ("ca.crt", Content::Bundle)]);
    assert_eq!(password_wanted(&resource), Some(PasswordWanted::Made("truststore.password")));
    resource.spec.target.pkcs12 = Some(Pkcs12 { password_key: Some("pw".into()), ..Pkcs12::default() });
    assert!(rendered(&resource, &[PEM]).data.contains_key("pw"));
    let given = SecretKeyRef { name: "java".into(), key: "password".into() };
    resource.spec.target.pkcs12 = Some(Pkcs12 { password_secret_ref: Some(given.clone()), ..Pkcs12::default() });
    assert_eq!(password_wanted(&resource), Some(PasswordWanted::Given(&given)));
    assert_eq!(rendered(&resource, &[PEM]).data.keys().collect::<Vec<_>>(), ["ca.crt", "store.p12"]);
    let certificate = Certificate::parse(PEM).unwrap();
    let trusted = Trusted { main: Some(&certificate), additional: vec![] };
    let unsealed = render(&resource, &trusted, &TruststoreInput::default(), NOW.parse().unwrap());
    assert_eq!(unsealed, None, "no truststore without a password");
}

#[test]
fn the_verifier_class_is_reported_if_it_is_known() {
    use VerifierClass::{FirstWins, OverlapSafe};
    for (resource, class) in [
        (resource("payments"), None),
        (with_preset(Preset::CaCrt), None),
        (with_preset(Preset::TlsCrt), Some(FirstWins)),
        (with_preset(Preset::NginxOrgCa), Some(FirstWins)),
        (with_preset(Preset::IstioCacert), Some(FirstWins)),
        (with_preset(Preset::Pkcs12), Some(OverlapSafe)),
        (with_keys(&[("a", Content::Bundle)]), None),
        (with_keys(&[("a", Content::Active), ("b", Content::Sha1Pins)]), None),
        (with_keys(&[("a", Content::Sha256Pins), ("b", Content::Sha1Pins)]), Some(OverlapSafe)),
        (with_keys(&[("a", Content::SpkiPins), ("b", Content::NginxMap)]), Some(OverlapSafe)),
        (with_keys(&[("a", Content::EnvoySds), ("b", Content::Pkcs12)]), Some(OverlapSafe)),
    ] {
        assert_eq!(verifier_class(&resource, &[]), class, "{:?}", resource.spec.target);
    }
}

#[test]
fn two_authorities_of_one_name_are_safe_if_key_identifiers_distinguish_them() {
    let entry = |ca: &PrivateCa| {
        let leaf = ca.issue(NewLeaf::new("api"));
        let certificate = Certificate::parse(&leaf.certificate).unwrap();
        let chain = Certificate::issued(&leaf.certificate, leaf.chain.as_deref().unwrap()).unwrap();
        CertificateStatus {
            sha256_fingerprint: Some(certificate.main().fingerprint.to_string()),
            pem: Some(leaf.certificate),
            chain: chain.chain().iter().map(|block| block.pem.clone()).collect(),
            ..CertificateStatus::default()
        }
    };
    let root = || PrivateCa::root("Payments Root");
    let (first, second) = (root(), root());
    let with_identifiers = |root: &PrivateCa| entry(&root.intermediate("Payments Issuing"));
    let without = |root: &PrivateCa, name: &str| entry(&root.intermediate_without_key_identifier(name));
    let safe = Some(VerifierClass::OverlapSafe);
    for (held, class) in [
        ([with_identifiers(&first), with_identifiers(&second)], safe),
        ([without(&first, "Payments Issuing"), without(&second, "Payments Issuing")], None),
        ([with_identifiers(&first), without(&second, "Other Issuing")], None),
        ([without(&first, "Payments Issuing"), without(&first, "Other Issuing")], safe),
        ([without(&first, "Payments Issuing"), without(&PrivateCa::root("Other Root"), "Other Issuing")], safe),
    ] {
        assert_eq!(verifier_class(&resource("payments"), &held), class);
    }
}

#[test]
fn a_target_with_other_data_is_recognized_by_its_digest() {
    let keys = [("a", Content::Bundle), ("b", Content::Sha1Pins), ("c", Content::Pkcs12)];
    let resource = with_keys(&keys);
    let written = secret_of(&rendered(&resource, &[PEM, OTHER_PEM]));
    let content = written.content();
    let both = [PEM_FINGERPRINT, OTHER_FINGERPRINT];
    assert!(made_of(&content, &resource, &both));
    assert!(made_of(&content, &resource, &[both[0], both[0], both[1]]), "each counts once");
    assert!(!made_of(&content, &resource, &both[..1]), "the Bundle shows more");
    let meant_otherwise = with_keys(&[keys[0], ("b", Content::SpkiPins), keys[2]]);
    assert!(!made_of(&content, &meant_otherwise, &both));
    for key in ["b", "c", "truststore.password"] {
        let mut edited = written.clone();
        edited.data.as_mut().unwrap().get_mut(key).unwrap().0.push(b'x');
        assert!(!made_of(&edited.content(), &resource, &both), "{key}");
    }
    let mut unmarked = written.clone();
    unmarked.metadata.annotations = None;
    assert!(!made_of(&unmarked.content(), &resource, &both));
    assert_eq!(content.password("truststore.password"), Password::made(b"changeit").as_ref());
    assert_eq!(content.password("b"), None);
}

/// Calls `is_made_of` for certificates without a chain, which verify themselves.
fn made_of(content: &TargetContent, resource: &ClientCertificateRef, fingerprints: &[&str]) -> bool {
    is_made_of(content, resource, fingerprints, &fingerprints.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>())
}
