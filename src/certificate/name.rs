//! Distinguished names as text: one line of printable ASCII, for any content.

use std::fmt::Write;

use super::der::{self, Element};

/// The names of attribute types in OpenSSL. All other types are printed as numbers.
pub(super) const TYPES: &[(&[u8], &str)] = &[
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 4], "SN"),
    (&[0x55, 4, 5], "serialNumber"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "street"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 12], "title"),
    (&[0x55, 4, 13], "description"),
    (&[0x55, 4, 15], "businessCategory"),
    (&[0x55, 4, 17], "postalCode"),
    (&[0x55, 4, 41], "name"),
    (&[0x55, 4, 42], "GN"),
    (&[0x55, 4, 43], "initials"),
    (&[0x55, 4, 44], "generationQualifier"),
    (&[0x55, 4, 46], "dnQualifier"),
    (&[0x55, 4, 65], "pseudonym"),
    (&[0x55, 4, 97], "organizationIdentifier"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress"),
];

/// A name of X.509 as `openssl x509 -nameopt
/// esc_2253,esc_ctrl,esc_msb,utf8,dump_nostr,dump_der,sname,sep_comma_plus_space` prints it; `None` if the bytes are
/// not a name.
pub fn readable(name: &[u8]) -> Option<String> {
    let mut text = String::new();
    for set in Element::only(name)?.of(der::SEQUENCE)? {
        let pairs = set.of(der::SET)?;
        pairs.first()?;
        for (n, pair) in pairs.iter().enumerate() {
            let parts = pair.of(der::SEQUENCE)?;
            let [kind, value] = parts.as_slice() else { return None };
            (kind.tag == der::OID).then_some(())?;
            text += if text.is_empty() {
                ""
            } else if n == 0 {
                ", "
            } else {
                " + "
            };
            push_kind(&mut text, kind.content);
            text.push('=');
            push_value(&mut text, value)?;
        }
    }
    Some(text)
}

fn push_kind(text: &mut String, oid: &[u8]) {
    if let Some((_, name)) = TYPES.iter().find(|(known, _)| *known == oid) {
        text.push_str(name);
        return;
    }
    let (mut arc, mut is_first) = (0_u128, true);
    for byte in oid {
        arc = arc.wrapping_shl(7) | u128::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        let _ = if std::mem::take(&mut is_first) {
            let root = (arc / 40).min(2);
            write!(text, "{root}.{}", arc - root * 40)
        } else {
            write!(text, ".{arc}")
        };
        arc = 0;
    }
}

/// Returns `None` if a name may not hold a value of this type: OpenSSL loads no certificate with such a name.
fn push_value(text: &mut String, value: &Element<'_>) -> Option<()> {
    if matches!(value.tag, der::BIT_STRING | der::SEQUENCE) {
        text.push('#');
        push_hex(text, "", value.whole);
        return Some(());
    }
    let characters = der::text(value)?;
    let last = characters.chars().count().saturating_sub(1);
    for (n, character) in characters.chars().enumerate() {
        match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => text.extend(['\\', character]),
            '#' if n == 0 => text.push_str("\\#"),
            ' ' if n == 0 || n == last => text.push_str("\\ "),
            ' '..='~' => text.push(character),
            _ => push_hex(text, "\\", character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Some(())
}

fn push_hex(text: &mut String, before: &str, bytes: &[u8]) {
    bytes.iter().for_each(|byte| {
        let _ = write!(text, "{before}{byte:02X}");
    });
}
