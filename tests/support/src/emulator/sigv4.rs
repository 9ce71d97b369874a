//! AWS Signature Version 4, written from its specification without the SDK's code, so that this check does not share
//! the mistakes of the client.

use aws_lc_rs::{digest, hmac};
use axum::http::HeaderMap;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::answer::Refusal;
use crate::script::Service;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SKEW: SignedDuration = SignedDuration::from_mins(5);
const DATE_FORMAT: &str = "%Y%m%dT%H%M%SZ";

/// An access key that the emulator accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKey {
    /// The access key id, for example `AKIDEXAMPLE`.
    pub id: String,
    /// The secret.
    pub secret: String,
    /// The session token that a temporary key requires.
    pub session_token: Option<String>,
}

/// The signed parts of a request.
pub(super) struct Signed<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

/// The flaws of a request's signature.
#[derive(Clone, Copy)]
pub(super) enum Flaw {
    Missing,
    Malformed,
    UnknownKey,
    Wrong,
    Expired,
}

impl Flaw {
    /// The refusal of a service, because services have different names for the same flaw.
    pub(super) fn refusal(self, service: Service, message: impl Into<String>) -> Refusal {
        let (gateway, sts) = match self {
            Self::Missing => ("MissingAuthenticationTokenException", "MissingAuthenticationToken"),
            Self::Malformed => ("IncompleteSignatureException", "IncompleteSignature"),
            Self::UnknownKey => ("UnrecognizedClientException", "InvalidClientTokenId"),
            Self::Wrong => ("InvalidSignatureException", "SignatureDoesNotMatch"),
            Self::Expired => ("ExpiredTokenException", "ExpiredToken"),
        };
        match service {
            Service::ApiGateway => Refusal::new(403, gateway, message),
            Service::Acm => Refusal::new(400, gateway, message),
            Service::Sts => Refusal::new(403, sts, message),
        }
    }
}

const INVALID_TOKEN: &str = "The security token included in the request is invalid.";
const MISMATCH: &str = "The request signature we calculated does not match the signature you provided.";

/// Checks that the request is signed with the key that it names, for this service.
pub(super) fn verify(
    request: &Signed<'_>,
    service: Service,
    key: Option<&AccessKey>,
    now: Timestamp,
) -> Result<(), Refusal> {
    let header = |name| request.headers.get(name).and_then(|value| value.to_str().ok());
    let authorization =
        header("authorization").ok_or_else(|| Flaw::Missing.refusal(service, "Missing Authentication Token"))?;
    let claim = Claim::parse(authorization)
        .ok_or_else(|| Flaw::Malformed.refusal(service, "Authorization header is malformed."))?;
    let key = key.ok_or_else(|| Flaw::UnknownKey.refusal(service, INVALID_TOKEN))?;
    if key.session_token.as_deref() != header("x-amz-security-token") {
        return Err(Flaw::UnknownKey.refusal(service, INVALID_TOKEN));
    }
    let date = header("x-amz-date").unwrap_or_default();
    let wrong = |why: &str| Err(Flaw::Wrong.refusal(service, why));
    let Some(signed_at) = parse_date(date) else { return wrong("Date must be in ISO-8601 'basic format'.") };
    if now.duration_since(signed_at).abs() > SKEW {
        return wrong(&format!("Signature expired: {date} is not within 5 min of now."));
    }
    if claim.service != name(service) || claim.terminator != "aws4_request" || !date.starts_with(claim.date) {
        return wrong("Credential should be scoped to a valid date, region and service.");
    }
    let must_be_signed = |name: &str| name == "host" || name == "content-type" || name.starts_with("x-amz-");
    if !claim.signed_headers.contains(&"host")
        || request
            .headers
            .keys()
            .any(|name| must_be_signed(name.as_str()) && !claim.signed_headers.contains(&name.as_str()))
    {
        return wrong("A header that has to be signed is not.");
    }
    if header("x-amz-content-sha256").is_some_and(|hash| hash != sha256(request.body)) {
        return wrong("The provided 'x-amz-content-sha256' header does not match what was computed.");
    }
    let scope = Scope { date, region: claim.region, service: name(service) };
    if claim.signature != signature(request, &claim.signed_headers, &scope, &key.secret) {
        return wrong(MISMATCH);
    }
    Ok(())
}

/// The key and the region in a request's signature, unchecked.
pub(super) fn claimed(headers: &HeaderMap) -> Option<(String, String)> {
    let authorization = headers.get("authorization")?.to_str().ok()?;
    Claim::parse(authorization).map(|claim| (claim.key_id.to_owned(), claim.region.to_owned()))
}

fn name(service: Service) -> &'static str {
    match service {
        Service::ApiGateway => "apigateway",
        Service::Acm => "acm",
        Service::Sts => "sts",
    }
}

/// The scope of a signature, in the order of its derivation.
struct Scope<'a> {
    date: &'a str,
    region: &'a str,
    service: &'a str,
}

/// The header `authorization` for a request. All other headers, including `host` and `x-amz-date`, are signed.
pub(super) fn authorization(
    request: &Signed<'_>,
    service: Service,
    date: &str,
    region: &str,
    key: &AccessKey,
) -> String {
    let mut names: Vec<&str> = request.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    let service = name(service);
    let signature = signature(request, &names, &Scope { date, region, service }, &key.secret);
    let (id, day, names) = (&key.id, &date[..8], names.join(";"));
    format!(
        "{ALGORITHM} Credential={id}/{day}/{region}/{service}/aws4_request, SignedHeaders={names}, Signature={signature}"
    )
}

/// A time in the format of `x-amz-date`.
pub(super) fn format_date(time: Timestamp) -> String {
    time.strftime(DATE_FORMAT).to_string()
}

fn parse_date(date: &str) -> Option<Timestamp> {
    let date = DateTime::strptime(DATE_FORMAT, date).ok()?;
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// The content of the header `authorization`.
struct Claim<'a> {
    key_id: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    terminator: &'a str,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Claim<'a> {
    fn parse(authorization: &'a str) -> Option<Self> {
        let parts: Vec<&str> = authorization.strip_prefix(ALGORITHM)?.split(',').map(str::trim).collect();
        let part = |name: &str| parts.iter().find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        let scope: Vec<&str> = part("Credential")?.split('/').collect();
        let [key_id, date, region, service, terminator] = scope.try_into().ok()?;
        let signed_headers = part("SignedHeaders")?.split(';').collect();
        Some(Self { key_id, date, region, service, terminator, signed_headers, signature: part("Signature")? })
    }
}

fn signature(request: &Signed<'_>, signed_headers: &[&str], scope: &Scope<'_>, secret: &str) -> String {
    let Scope { date, region, service } = *scope;
    let day = &date[..8];
    let canonical = canonical_request(request, signed_headers);
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let to_sign = format!("{ALGORITHM}\n{date}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let mut key = format!("AWS4{secret}").into_bytes();
    for step in [day, region, service, "aws4_request"] {
        key = hmac_sha256(&key, step);
    }
    hex(&hmac_sha256(&key, &to_sign))
}

fn canonical_request(request: &Signed<'_>, signed_headers: &[&str]) -> String {
    let mut query: Vec<String> = request
        .query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| if pair.contains('=') { pair.to_owned() } else { format!("{pair}=") })
        .collect();
    query.sort_unstable();
    let headers: String = signed_headers
        .iter()
        .map(|name| {
            let values: Vec<String> = request
                .headers
                .get_all(*name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()).split_whitespace().collect::<Vec<_>>().join(" "))
                .collect();
            format!("{name}:{}\n", values.join(","))
        })
        .collect();
    let (method, path, query) = (request.method, encode_again(request.path), query.join("&"));
    format!("{method}\n{path}\n{query}\n{headers}\n{}\n{}", signed_headers.join(";"), sha256(request.body))
}

/// Encodes a path a second time. In the canonical request of every service except S3, the path is encoded twice.
fn encode_again(path: &str) -> String {
    path.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

fn hmac_sha256(key: &[u8], data: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data.as_bytes()).as_ref().to_vec()
}

fn sha256(data: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, data).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
