//! Checks that bytes are strict DER. `x509-parser` accepts more than OpenSSL and BoringSSL do, and one block that a
//! server refuses makes the server refuse the whole file.

/// A limit of nesting. Real certificates nest far less deeply.
const MOST_NESTED: usize = 32;

pub const INTEGER: u8 = 0x02;
pub const BIT_STRING: u8 = 0x03;
pub const OID: u8 = 0x06;
pub const UTF8_STRING: u8 = 0x0c;
pub const UTC_TIME: u8 = 0x17;
pub const GENERALIZED_TIME: u8 = 0x18;
pub const UNIVERSAL_STRING: u8 = 0x1c;
pub const BMP_STRING: u8 = 0x1e;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;
const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
const NULL: u8 = 0x05;
const ENUMERATED: u8 = 0x0a;
const LONG_TAG: u8 = 0x1f;
const CONSTRUCTED: u8 = 0x20;
const NOT_UNIVERSAL: u8 = 0xc0;
const VERSION: u8 = 0xa0;
const ISSUER_ID: u8 = 0x81;
const SUBJECT_ID: u8 = 0x82;
const EXTENSIONS: u8 = 0xa3;
/// The object identifier of `rsaEncryption`.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];

/// One element: its identifier octet, its contents octets, and the whole encoding with the length octets.
#[derive(Clone, Copy)]
pub struct Element<'a> {
    pub tag: u8,
    pub content: &'a [u8],
    pub whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// Reads bytes that are exactly one element.
    pub fn only(bytes: &'a [u8]) -> Option<Self> {
        let (element, rest) = Self::first(bytes)?;
        rest.is_empty().then_some(element)
    }

    fn first(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&tag, rest) = bytes.split_first()?;
        let (&short, mut rest) = rest.split_first()?;
        let length = if short < 0x80 {
            usize::from(short)
        } else {
            let (digits, after) = rest.split_at_checked(usize::from(short & 0x7f))?;
            rest = after;
            let length =
                digits.iter().try_fold(0_usize, |sum, digit| Some(sum.checked_mul(256)? + usize::from(*digit)));
            // DER allows only the shortest form of a length. No digits would mean BER's indefinite length.
            length.filter(|length| *length >= 0x80 && digits.first() != Some(&0))?
        };
        let (content, rest) = rest.split_at_checked(length)?;
        let whole = bytes.get(..bytes.len() - rest.len())?;
        (tag & LONG_TAG != LONG_TAG).then_some((Element { tag, content, whole }, rest))
    }

    /// The elements in the contents.
    pub fn elements(&self) -> Option<Vec<Element<'a>>> {
        let (mut elements, mut rest) = (Vec::new(), self.content);
        while !rest.is_empty() {
            let (element, after) = Self::first(rest)?;
            elements.push(element);
            rest = after;
        }
        Some(elements)
    }

    /// Whether the element, with all elements in it, is strict DER.
    pub fn is_strict(&self) -> bool {
        self.is_strict_to(MOST_NESTED)
    }

    fn is_strict_to(&self, depth: usize) -> bool {
        if self.tag & CONSTRUCTED != 0 {
            let takes_parts = matches!(self.tag, SEQUENCE | SET) || self.tag & NOT_UNIVERSAL != 0;
            return takes_parts
                && depth > 0
                && self.elements().is_some_and(|parts| parts.iter().all(|part| part.is_strict_to(depth - 1)));
        }
        let content = self.content;
        let digits = |count: usize| {
            let (digits, end) = content.split_at(count.min(content.len()));
            digits.len() == count && digits.iter().all(u8::is_ascii_digit) && end == b"Z"
        };
        match self.tag {
            BOOLEAN => matches!(content, [0 | 0xff]),
            INTEGER | ENUMERATED => match content {
                [] => false,
                [0, second, ..] => *second >= 0x80,
                [0xff, second, ..] => *second < 0x80,
                _ => true,
            },
            BIT_STRING => match content {
                [0] => true,
                [unused @ 0..=7, .., last] => last.trailing_zeros() >= u32::from(*unused),
                _ => false,
            },
            NULL => content.is_empty(),
            OID => {
                let begins = std::iter::once(&0).chain(content).zip(content).filter(|(before, _)| **before < 0x80);
                content.last().is_some_and(|last| *last < 0x80) && begins.into_iter().all(|(_, begin)| *begin != 0x80)
            }
            UTF8_STRING | UNIVERSAL_STRING | BMP_STRING => text(self).is_some(),
            UTC_TIME => digits(12),
            GENERALIZED_TIME => digits(14),
            // End-of-contents, and a SEQUENCE or SET that is not constructed.
            0 | 0x10 | 0x11 => false,
            _ => true,
        }
    }
}

/// The text of a string; `None` if the element is no string, or its bytes are invalid for its type. The types with one
/// byte for each character are read as Latin-1, as OpenSSL reads them.
pub fn text(element: &Element<'_>) -> Option<String> {
    let characters = |width: usize| {
        let is_whole = element.content.len().is_multiple_of(width);
        let code = |chunk: &[u8]| chunk.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        is_whole
            .then(|| element.content.chunks(width).map(|chunk| char::from_u32(code(chunk))).collect::<Option<_>>())?
    };
    match element.tag {
        UTF8_STRING => std::str::from_utf8(element.content).ok().map(str::to_owned),
        UNIVERSAL_STRING => characters(4),
        BMP_STRING => characters(2),
        // NumericString, PrintableString, TeletexString and IA5String. A name may hold no other type of string.
        0x12..=0x14 | 0x16 => characters(1),
        _ => None,
    }
}

/// Whether bytes are a certificate, by the whole tag of each field: `x509-parser` checks only a part of each tag.
pub fn is_certificate(der: &[u8]) -> bool {
    certificate(der).is_some()
}

fn certificate(der: &[u8]) -> Option<()> {
    let whole = Element::only(der).filter(Element::is_strict)?;
    let outer = whole.of(SEQUENCE)?;
    let [inner, algorithm, signature] = outer.as_slice() else { return None };
    algorithm.is_algorithm()?;
    signature.has(BIT_STRING)?;
    let inner = inner.of(SEQUENCE)?;
    let fields = match inner.split_first()? {
        (version, fields) if version.tag == VERSION => {
            let version = version.of(VERSION)?;
            // In DER, a certificate of version 1 has no version field.
            version.first().filter(|it| it.tag == INTEGER && it.content != [0] && version.len() == 1)?;
            fields
        }
        _ => &inner,
    };
    let [serial, algorithm, issuer, validity, subject, key, more @ ..] = fields else { return None };
    serial.has(INTEGER)?;
    algorithm.is_algorithm()?;
    super::readable(issuer.whole)?;
    super::readable(subject.whole)?;
    let times = validity.of(SEQUENCE)?;
    let are_times = times.len() == 2 && times.iter().all(|time| matches!(time.tag, UTC_TIME | GENERALIZED_TIME));
    key.is_key()?;
    let are_in_order = more.windows(2).all(|pair| order(&pair[0]) < order(&pair[1]));
    let all_known = more.iter().all(|field| order(field).is_some());
    for field in more.iter().filter(|field| field.tag == EXTENSIONS) {
        let lists = field.of(EXTENSIONS)?;
        let [list] = lists.as_slice() else { return None };
        let list = list.of(SEQUENCE)?;
        list.iter().try_for_each(Element::is_extension)?;
    }
    (are_times && are_in_order && all_known).then_some(())
}

/// The position of an optional field after the key.
fn order(field: &Element<'_>) -> Option<usize> {
    [ISSUER_ID, SUBJECT_ID, EXTENSIONS].iter().position(|tag| *tag == field.tag)
}

impl<'a> Element<'a> {
    fn has(&self, tag: u8) -> Option<()> {
        (self.tag == tag).then_some(())
    }

    /// The elements in the contents, if the element has this tag.
    pub fn of(&self, tag: u8) -> Option<Vec<Element<'a>>> {
        self.has(tag)?;
        self.elements()
    }

    fn is_algorithm(&self) -> Option<()> {
        let parts = self.of(SEQUENCE)?;
        (parts.len() <= 2).then_some(())?;
        parts.first()?.has(OID)
    }

    fn is_key(&self) -> Option<()> {
        let parts = self.of(SEQUENCE)?;
        let [algorithm, bits] = parts.as_slice() else { return None };
        algorithm.is_algorithm()?;
        bits.has(BIT_STRING)?;
        if algorithm.elements()?.first()?.content != RSA {
            return Some(());
        }
        let key = Element::only(bits.content.strip_prefix(&[0])?).filter(Element::is_strict)?;
        let numbers = key.of(SEQUENCE)?;
        // A set first bit would make the number negative.
        let is_number =
            |number: &Element<'_>| number.tag == INTEGER && number.content.first().is_some_and(|it| *it < 0x80);
        (numbers.len() == 2 && numbers.iter().all(is_number)).then_some(())
    }

    fn is_extension(&self) -> Option<()> {
        match self.of(SEQUENCE)?.as_slice() {
            [kind, value] | [kind, Element { tag: BOOLEAN, .. }, value] => {
                kind.has(OID)?;
                value.has(OCTET_STRING)
            }
            _ => None,
        }
    }
}
