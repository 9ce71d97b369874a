//! Certificates that are read and refused. Invalid and unusual certificates are compared with OpenSSL's result.

use std::io::Write;
use std::process::{Command, Stdio};

use super::der::Element;
use super::*;
use crate::fixtures::{OTHER_PEM, PEM, PEM_FINGERPRINT, PEM_NOT_AFTER, PEM_SERIAL};

/// The options of OpenSSL that print the subject as the operator does.
const NAME_OPTIONS: &str = "esc_2253,esc_ctrl,esc_msb,utf8,dump_nostr,dump_der,sname,sep_comma_plus_space";

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = match content.len() {
        short @ 0..0x80 => vec![u8::try_from(short).unwrap()],
        middle @ 0x80..0x100 => vec![0x81, u8::try_from(middle).unwrap()],
        long => [vec![0x82], u16::try_from(long).unwrap().to_be_bytes().to_vec()].concat(),
    };
    [vec![tag], length, content].concat()
}

/// The parts of the fixture's certificate, in DER. A test replaces some of them.
#[derive(Clone)]
struct Parts {
    version: Vec<u8>,
    serial: Vec<u8>,
    inner_algorithm: Vec<u8>,
    times: [Vec<u8>; 2],
    subject: Vec<u8>,
    key: Vec<u8>,
    more: Vec<u8>,
    outer: [Vec<u8>; 2],
}

impl Parts {
    fn of_fixture() -> Self {
        let der = Certificate::parse(PEM).unwrap().main().der().unwrap();
        let whole = |element: &Element<'_>| element.whole.to_vec();
        let outer = Element::only(&der).unwrap().elements().unwrap();
        let inner = outer[0].elements().unwrap();
        let times = inner[4].elements().unwrap();
        Parts {
            version: whole(&inner[0]),
            serial: whole(&inner[1]),
            inner_algorithm: whole(&inner[2]),
            times: [whole(&times[0]), whole(&times[1])],
            subject: whole(&inner[5]),
            key: whole(&inner[6]),
            more: vec![],
            outer: [whole(&outer[1]), whole(&outer[2])],
        }
    }

    fn der(&self) -> Vec<u8> {
        let inner = [
            &self.version[..],
            &self.serial,
            &self.inner_algorithm,
            &self.subject,
            &tlv(0x30, &[&self.times[0], &self.times[1]]),
            &self.subject,
            &self.key,
            &self.more,
        ];
        tlv(0x30, &[&tlv(0x30, &inner), &self.outer[0], &self.outer[1]])
    }
}

fn with(edit: impl FnOnce(&mut Parts)) -> Vec<u8> {
    let mut parts = Parts::of_fixture();
    edit(&mut parts);
    parts.der()
}

fn common_name(tag: u8, value: &[u8]) -> Vec<u8> {
    name(&[&[(&[0x55, 4, 3], tag, value)]])
}

/// The type of an attribute, the tag of its value, and the value.
type Attribute<'a> = (&'a [u8], u8, &'a [u8]);

fn name(sets: &[&[Attribute<'_>]]) -> Vec<u8> {
    let pair = |(oid, tag, value): &Attribute<'_>| tlv(0x30, &[&tlv(0x06, &[oid]), &tlv(*tag, &[value])]);
    let set = |pairs: &&[Attribute<'_>]| tlv(0x31, &[&pairs.iter().flat_map(pair).collect::<Vec<_>>()]);
    tlv(0x30, &[&sets.iter().flat_map(set).collect::<Vec<_>>()])
}

fn parsed(der: &[u8]) -> Result<Block, CertificateError> {
    Certificate::parse(&encoded(der)).map(|certificate| certificate.main().clone())
}

/// The output of `openssl x509`, without the line ends that OpenSSL prints within a number; `None` if OpenSSL does not
/// load the certificate.
fn openssl(der: &[u8], args: &[&str]) -> Option<String> {
    let mut openssl = Command::new("openssl")
        .args(["x509", "-noout", "-nameopt", NAME_OPTIONS])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(encoded(der).as_bytes()).unwrap();
    let output = openssl.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap().replace("\\\n", "");
    output.status.success().then(|| text.trim_end_matches('\n').to_owned())
}

#[test]
fn serials_are_printed_as_openssl_prints_them() {
    let serials: &[&[u8]] = &[
        &[0],
        &[1],
        &[0x7f],
        &[0x80],
        &[0xff],
        &[0x80, 0],
        &[0xff, 0x7f],
        &[0, 0xff],
        &[0, 0x80, 0, 0],
        &[0xfe, 0, 0, 0],
        &[0x12; 20],
        &[0x92; 20],
        &[0x12; 36],
        &[0x92; 64],
    ];
    for serial in serials {
        let der = with(|parts| parts.serial = tlv(der::INTEGER, &[serial]));
        let printed = format!("serial={}", parsed(&der).unwrap().serial_number);
        assert_eq!(Some(printed), openssl(&der, &["-serial"]), "{serial:02x?}");
    }
}

#[test]
fn names_are_one_line_of_printable_ascii_as_openssl_prints_them() {
    let big: Vec<u8> = "Zürich 𝄞".encode_utf16().filter(|unit| *unit < 0xd800).flat_map(u16::to_be_bytes).collect();
    let wide: Vec<u8> = "a𝄞\u{1b}".chars().flat_map(|character| u32::from(character).to_be_bytes()).collect();
    let mut names = vec![
        name(&[]),
        name(&[&[(&[0x55, 4, 6], 0x13, b"US")], &[(&[0x55, 4, 10], 12, b"a"), (&[0x55, 4, 3], 12, b"b")]]),
        name(&[&[(&[0x2a, 3, 0x87, 0x67], 12, b"of no type")], &[(&[0x88, 0x37, 1], 12, b"likewise")]]),
        name(&[&[(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], 0x16, b"a@b.test")]]),
    ];
    for text in [
        "",
        " ",
        "  both  ",
        "#first#",
        "a,b+c\"d\\e<f>g;h=i",
        "nul\0 escape\u{1b}[31m newline\nreturn\r delete\u{7f} bell\u{7}",
        "Zürich",
        "\u{9b}31m \u{202e}backwards\u{200b}",
        "𝄞 ",
    ] {
        names.push(common_name(der::UTF8_STRING, text.as_bytes()));
    }
    names.extend([
        common_name(der::BMP_STRING, &big),
        common_name(der::UNIVERSAL_STRING, &wide),
        // TeletexString, IA5String and PrintableString with bytes that their type does not allow.
        common_name(0x14, b"Z\xfcrich"),
        common_name(0x16, b"\x00\xff\x1b"),
        common_name(0x13, b"a\n*_"),
        // Values that are not strings.
        common_name(der::BIT_STRING, b"\x00bits"),
        common_name(der::SEQUENCE, &tlv(12, &[b"within"])),
    ]);
    for kind in super::name::TYPES {
        names.push(name(&[&[(kind.0, der::UTF8_STRING, b"value")]]));
    }
    for subject in names {
        let der = with(|parts| parts.subject.clone_from(&subject));
        let printed = parsed(&der).map(|block| block.subject);
        assert!(printed.iter().all(|printed| printed.bytes().all(|byte| (b' '..=b'~').contains(&byte))), "{printed:?}");
        let printed = printed.ok().map(|printed| format!("subject={printed}"));
        assert!(printed.is_some(), "{subject:02x?}: {:?}", openssl(&der, &["-subject"]));
        assert_eq!(printed, openssl(&der, &["-subject"]), "{subject:02x?}");
    }
}

#[test]
fn a_certificate_that_openssl_does_not_load_is_refused() {
    let times = |value: &[u8]| with(|parts| parts.times[1] = tlv(0x18, &[value]));
    let extension = tlv(0x30, &[&tlv(0x06, &[&[0x55, 29, 19]]), &tlv(0x04, &[&tlv(0x30, &[])])]);
    let extensions = |all: &[&[u8]]| tlv(0xa3, &[&tlv(0x30, all)]);
    let long_form = |parts: &Parts| {
        let der = parts.der();
        [&[0x30, 0x83, 0][..], &der[2..]].concat()
    };
    let without_length = {
        let der = Parts::of_fixture().der();
        [&[0x30, 0x80][..], &der[4..], &[0, 0]].concat()
    };
    // Certificates that OpenSSL does not load.
    for (what, der) in [
        ("a serial that is too long by a zero", with(|parts| parts.serial = tlv(2, &[&[0, 1]]))),
        ("a serial that is too long by a sign", with(|parts| parts.serial = tlv(2, &[&[0xff, 0x80]]))),
        ("a serial of no bytes", with(|parts| parts.serial = tlv(2, &[]))),
        ("a name that is not UTF-8", with(|parts| parts.subject = common_name(12, b"\xff\xfe"))),
        ("half a character of two bytes", with(|parts| parts.subject = common_name(0x1e, b"odd"))),
        ("half a pair of characters", with(|parts| parts.subject = common_name(0x1e, &[0xd8, 0]))),
        ("a character of four bytes that is none", with(|parts| parts.subject = common_name(0x1c, &[0, 0x11, 0, 0]))),
        ("a name without a value", with(|parts| parts.subject = tlv(0x30, &[&tlv(0x31, &[&tlv(0x30, &[])])]))),
        ("another class", {
            let mut der = Parts::of_fixture().der();
            der[0] = 0xb0;
            der
        }),
        ("another class of a number", with(|parts| parts.serial[0] = 0x82)),
        ("a name of octets", with(|parts| parts.subject = common_name(0x04, b"octets"))),
        ("a name of a time", with(|parts| parts.subject = common_name(0x17, b"260101000000Z"))),
        ("a name of a general string", with(|parts| parts.subject = common_name(0x1b, b"general"))),
        ("a name of a visible string", with(|parts| parts.subject = common_name(0x1a, b"visible"))),
        ("a name of a number", with(|parts| parts.subject = common_name(2, &[1]))),
        ("unused bits of a whole byte", with(|parts| parts.outer[1][4] = 8)),
        ("an object identifier that does not end", with(|parts| parts.subject = name(&[&[(&[0x55, 0x84], 12, b"a")]]))),
        (
            "an object identifier with a leading zero",
            with(|parts| parts.subject = name(&[&[(&[0x55, 0x80, 3], 12, b"a")]])),
        ),
        ("cut", {
            let mut der = Parts::of_fixture().der();
            der.truncate(der.len() - 1);
            der
        }),
    ] {
        assert_eq!(parsed(&der), Err(CertificateError::NotX509), "{what}");
        assert_eq!(openssl(&der, &["-subject"]), None, "{what}");
    }
    // Certificates that OpenSSL loads, but that BoringSSL or Java does not load, or that cannot verify another
    // certificate.
    for (what, der) in [
        ("more behind it", [Parts::of_fixture().der(), vec![0, 0]].concat()),
        ("a length in more bytes than it takes", long_form(&Parts::of_fixture())),
        ("no length", without_length),
        ("a version 1 that is printed", with(|parts| parts.version = tlv(0xa0, &[&tlv(2, &[&[0]])]))),
        (
            "fields in another order",
            with(|parts| parts.more = [extensions(&[&extension]), tlv(0x81, &[&[0]])].concat()),
        ),
        ("a version 4", with(|parts| parts.version = tlv(0xa0, &[&tlv(2, &[&[3]])]))),
        (
            "extensions in a version 1",
            with(|parts| {
                parts.version.clear();
                parts.more = extensions(&[&extension]);
            }),
        ),
        ("an extension twice", with(|parts| parts.more = extensions(&[&extension, &extension]))),
        (
            "two algorithms",
            with(|parts| {
                parts.outer[0] = tlv(0x30, &[&tlv(0x06, &[&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5]]), &[5, 0]])
            }),
        ),
        ("a time without seconds", times(b"209901010000Z")),
        ("a time of another zone", times(b"20990101000000+0100")),
        ("a time of no zone", times(b"20990101000000")),
        ("a time with a fraction", times(b"20990101000000.5Z")),
        ("a day that there is not", times(b"20990230000000Z")),
        (
            "a key that is none",
            with(|parts| {
                let algorithm = tlv(0x30, &[&tlv(0x06, &[&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]]), &[5, 0]]);
                parts.key = tlv(0x30, &[&algorithm, &tlv(3, &[b"\x00no key"])]);
            }),
        ),
    ] {
        assert_eq!(parsed(&der), Err(CertificateError::NotX509), "{what}");
    }
}

/// Changes each byte of a certificate, except the bytes of the modulus and the signature, which may have any value.
#[test]
fn no_damaged_certificate_is_accepted_that_openssl_does_not_load() {
    let whole = Parts::of_fixture().der();
    let modulus = whole.windows(4).position(|bytes| bytes == [0x00, 0xb6, 0xeb, 0x3d]).unwrap();
    let signature = whole.len() - 256;
    let mut taken = 0;
    for at in (0..modulus + 4).chain(modulus + 252..signature) {
        for change in [0x20, 0x81] {
            let mut der = whole.clone();
            der[at] ^= change;
            let Ok(block) = parsed(&der) else { continue };
            taken += 1;
            // OpenSSL also loads a certificate whose key has an unknown algorithm.
            let is_of_algorithm = (modulus - 30..modulus - 13).contains(&at);
            let shown = openssl(&der, if is_of_algorithm { &["-serial"] } else { &["-serial", "-pubkey"] });
            let shown = shown.unwrap_or_else(|| panic!("byte {at} changed by {change:02x} is not loaded"));
            let printed = format!("serial={}", block.serial_number);
            assert!(shown.starts_with(&printed), "byte {at} changed by {change:02x}: {printed} {shown}");
        }
    }
    assert!(taken > 100, "{taken}");
}

#[test]
fn all_valid_versions_and_fields_are_accepted() {
    let extension = |oid: &[u8], critical: &[u8]| tlv(0x30, &[&tlv(0x06, &[oid]), critical, &tlv(0x04, &[&[0x30, 0]])]);
    let all = [extension(&[0x55, 29, 19], &[]), extension(&[0x2a, 3], &[1, 1, 0xff])].concat();
    for der in [
        with(|parts| parts.version.clear()),
        with(|parts| parts.version = tlv(0xa0, &[&tlv(2, &[&[1]])])),
        with(|parts| {
            parts.more = [tlv(0x81, &[&[0, 1]]), tlv(0x82, &[&[0, 1]]), tlv(0xa3, &[&tlv(0x30, &[&all])])].concat()
        }),
    ] {
        assert!(openssl(&der, &["-subject"]).is_some());
        parsed(&der).unwrap();
    }
}

#[test]
fn a_certificate_without_an_expiry_is_accepted() {
    let der = with(|parts| parts.times = [tlv(0x17, &[b"260101000000Z"]), tlv(0x18, &[b"99991231235959Z"])]);
    let block = parsed(&der).unwrap();
    assert!(openssl(&der, &["-enddate"]).unwrap().contains("Dec 31 23:59:59 9999"));
    assert_eq!(block.not_after, "9999-12-30T22:00:00Z".parse().unwrap());
    assert_eq!(block.not_before, "2026-01-01T00:00:00Z".parse().unwrap());
    let der = with(|parts| parts.times = [tlv(0x18, &[b"00000101000000Z"]), tlv(0x17, &[b"491231235959Z"])]);
    let block = parsed(&der).unwrap();
    assert_eq!(block.not_before, "0000-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(block.not_after, "2049-12-31T23:59:59Z".parse().unwrap());
}

#[test]
fn a_certificate_is_not_valid_before_its_start() {
    let certificate = Certificate::parse(PEM).unwrap();
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(certificate.main().not_before, start);
    assert!(certificate.is_not_yet_valid(start - jiff::SignedDuration::from_secs(1)));
    assert!(!certificate.is_not_yet_valid(start));
}

#[test]
fn the_pem_has_one_form_for_every_form_of_the_input() {
    let body: String = PEM.lines().filter(|line| !line.starts_with('-')).collect();
    let in_columns = |columns: usize, end: &str| {
        let lines: Vec<&str> = body.as_bytes().chunks(columns).map(|line| std::str::from_utf8(line).unwrap()).collect();
        ["-----BEGIN CERTIFICATE-----", &lines.join(end), "-----END CERTIFICATE-----"].join(end)
    };
    for columns in [1, 63, 64, 76, 1000, body.len()] {
        for end in ["\n", "\r\n", "\r", " \n\n"] {
            for last in ["", end] {
                let text = format!("{}{last}", in_columns(columns, end));
                let block = Certificate::parse(&text).unwrap().main().clone();
                assert_eq!((block.pem.as_str(), block.fingerprint.to_string().as_str()), (PEM, PEM_FINGERPRINT));
            }
        }
    }
    let two = format!("{}\r{}", in_columns(64, "\r"), in_columns(76, "\r"));
    assert_eq!(Certificate::parse(&two).unwrap().blocks().count(), 2);
    // Without line ends, no program can read the PEM, and the text between the dashes may be anything.
    assert_eq!(Certificate::parse(&in_columns(64, "")), Err(CertificateError::NotPem));
}

fn crlf(pem: &str) -> String {
    pem.trim_end().replace('\n', "\r\n")
}

#[test]
fn crlf_and_a_missing_final_newline_are_corrected() {
    let certificate = Certificate::parse(&crlf(PEM)).unwrap();
    assert_eq!(certificate.main().pem, PEM);
    assert!(PEM.ends_with("-----END CERTIFICATE-----\n") && !PEM.contains('\r'));
}

#[test]
fn the_facts_match_the_output_of_openssl() {
    let certificate = Certificate::parse(PEM).unwrap();
    let main = certificate.main();
    assert_eq!(main.serial_number, PEM_SERIAL);
    assert_eq!(main.fingerprint.to_string(), PEM_FINGERPRINT);
    assert_eq!(main.subject, "C=US, L=Seattle, CN=ApiGateway");
    assert_eq!(main.not_after, PEM_NOT_AFTER.parse().unwrap());
}

#[test]
fn several_blocks_keep_their_order_each_with_a_newline() {
    let certificate = Certificate::parse(&format!("{}\r\n{}", crlf(PEM), crlf(OTHER_PEM))).unwrap();
    let pems: Vec<_> = certificate.blocks().map(|block| block.pem.as_str()).collect();
    assert_eq!(pems, [PEM, OTHER_PEM]);
}

#[test]
fn a_certificate_is_expired_at_the_time_of_its_expiry() {
    let certificate = Certificate::parse(PEM).unwrap();
    let end = certificate.main().not_after;
    assert!(certificate.is_expired(end));
    assert!(!certificate.is_expired(end - jiff::SignedDuration::from_secs(1)));
}

#[test]
fn every_other_input_is_refused_with_its_reason() {
    let der_cut = {
        let der = STANDARD.decode(PEM.lines().filter(|l| !l.starts_with('-')).collect::<String>()).unwrap();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(&der[..der.len() - 9]))
    };
    let der_long = {
        let mut der = STANDARD.decode(PEM.lines().filter(|l| !l.starts_with('-')).collect::<String>()).unwrap();
        der.extend_from_slice(b"more");
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(&der))
    };
    for (text, error) in [
        ("", CertificateError::Empty),
        (" \r\n\t\n", CertificateError::Empty),
        ("testcert-123", CertificateError::NotPem),
        ("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n", CertificateError::PrivateKey),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", CertificateError::PrivateKey),
        ("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", CertificateError::OtherBlock),
        (&PEM[..PEM.len() / 2], CertificateError::Truncated),
        ("-----BEGIN CERTIFICATE-----\n?!?\n-----END CERTIFICATE-----\n", CertificateError::NotBase64),
        ("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", CertificateError::NotX509),
        (&der_cut, CertificateError::NotX509),
        (&der_long, CertificateError::NotX509),
        (&format!("{PEM}trailing words"), CertificateError::NotPem),
        (&format!("{PEM}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), CertificateError::PrivateKey),
        // Two of API Gateway's PEMs, concatenated without a newline between them.
        (&format!("{}{}", PEM.trim_end(), OTHER_PEM), CertificateError::Truncated),
    ] {
        assert_eq!(Certificate::parse(text), Err(error), "{text}");
    }
}

#[test]
fn a_chain_is_sorted_by_its_issuers() {
    use crate::fixtures::issued::{ISSUING_PEM, LEAF_PEM, ROOT_PEM};
    let sorted = Certificate::issued(LEAF_PEM, &format!("{ISSUING_PEM}{ROOT_PEM}")).unwrap();
    let reversed = Certificate::issued(LEAF_PEM, &format!("{ROOT_PEM}\r\n{ISSUING_PEM}")).unwrap();
    assert_eq!(sorted, reversed);
    assert_eq!(sorted.chain().iter().map(|block| block.pem.as_str()).collect::<Vec<_>>(), [ISSUING_PEM, ROOT_PEM]);
    assert_eq!(sorted.anchors().count(), 2);
    assert!(!sorted.lacks_root());
    let without_root = Certificate::issued(LEAF_PEM, ISSUING_PEM).unwrap();
    assert!(without_root.lacks_root());
    // A certificate that issued none of the others comes last.
    let foreign = Certificate::issued(LEAF_PEM, &format!("{PEM}{ROOT_PEM}{ISSUING_PEM}")).unwrap();
    assert_eq!(
        foreign.chain().iter().map(|block| block.pem.as_str()).collect::<Vec<_>>(),
        [ISSUING_PEM, ROOT_PEM, PEM]
    );
}

#[test]
fn a_backend_trusts_a_certificate_without_a_chain() {
    let alone = Certificate::issued(crate::fixtures::issued::LEAF_PEM, "").unwrap();
    assert_eq!(alone.anchors().map(|block| block.fingerprint).collect::<Vec<_>>(), [alone.main().fingerprint]);
    assert!(alone.chain().is_empty() && !alone.lacks_root());
}

#[test]
fn a_pem_that_api_gateway_does_not_present_is_refused() {
    use crate::fixtures::issued::{ISSUING_PEM, LEAF_PEM, ROOT_PEM, SERVER_PEM};
    assert_eq!(Certificate::issued(SERVER_PEM, ISSUING_PEM), Err(CertificateError::NotForClients));
    let five = format!("{ISSUING_PEM}{ROOT_PEM}{PEM}{PEM}{PEM}");
    assert!(Certificate::issued(LEAF_PEM, &five).is_ok());
    assert_eq!(Certificate::issued(LEAF_PEM, &format!("{five}{PEM}")), Err(CertificateError::LongChain));
    assert_eq!(Certificate::issued(LEAF_PEM, "no PEM"), Err(CertificateError::NotPem));
    assert!(Certificate::issued(&format!("{LEAF_PEM}{ROOT_PEM}"), "").is_err());
}
