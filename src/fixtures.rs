//! Two certificates in the form that API Gateway generates, for unit tests: X.509 v3, no extensions, the same name.
//!
//! Their private keys were deleted. They expire in 2099, so that no test depends on the date of its run.

pub mod issued;

use crate::error::ReadFailure;

/// The first certificate.
pub const PEM: &str = "\
-----BEGIN CERTIFICATE-----
MIIC5jCCAc6gAwIBAgIEDA/+4DANBgkqhkiG9w0BAQsFADA0MQswCQYDVQQGEwJV
UzEQMA4GA1UEBwwHU2VhdHRsZTETMBEGA1UEAwwKQXBpR2F0ZXdheTAgFw0yNjAx
MDEwMDAwMDBaGA8yMDk5MDEwMTAwMDAwMFowNDELMAkGA1UEBhMCVVMxEDAOBgNV
BAcMB1NlYXR0bGUxEzARBgNVBAMMCkFwaUdhdGV3YXkwggEiMA0GCSqGSIb3DQEB
AQUAA4IBDwAwggEKAoIBAQC26z00zYG41//y6nwckKERsMXAH2PtTQrtqgYRi3Ys
X4gUS4X+t6hpUvtZDhNGsJ52NXsxFy09QQUct/+1HkDm6Jeq1dN8w2lzxzRtf5GO
S/2KbGX6HTtK6MLSvxPxWoyIc4BrUECVVmCmm7kCcKTmnfCOGj8I7WLpoZGYbBzo
TpadKgRK/mo1UNdiCV7zz04SuQemi9BzcLLw/L9FRlOnmUKo4tFovAJ9f+KMkIQV
O2fpXg+ZGC8hpYX5ECcgNQFxIitHrnBjeROtSfitxBla+tXYfcirkSZILk18ReMC
rjEk2YifwNzGNA5LtCb9jv60eJRY81v6JYyYwcGl/ofPAgMBAAEwDQYJKoZIhvcN
AQELBQADggEBAAUzZcjxV4vXW6wMw5aMj5JuV4k5vfCmzYjoGB4zO16ZXhcMg04o
hOIvVLSkUV+HrK+Oc2Vi5fhK/JilAnihp6qkuKmohsKYfbsGbB+8886DrsTf0BD+
inOOu4STlae227eWkniZ9IdYmhFylQeTfIGI/Kj7h6BU2Q0J0J9fVw4jzaAbFvuk
hKS+iJWuXg2wUHK+DxsxDnaBBy+JX579JMmZ7r08kZhnwf5gYt3KbvVgJ8x4x2Ln
7SoyxUMtjBdvSAWhoMrbksFBq/V9q/ZOQDt5iiJrNJNJVhmJ0g8b7bH0p3CqlNbi
WowVoxsT1yD7BQYryMluc60o+XAahz0tYlw=
-----END CERTIFICATE-----
";
/// The serial number of [`PEM`].
pub const PEM_SERIAL: &str = "0C0FFEE0";
/// The SHA-256 of the DER of [`PEM`].
pub const PEM_FINGERPRINT: &str = "32f001778fc148b45c460c23fac4a6d3ad5e172a54091b91d8acbb85c0ab396c";
/// The SHA-1 of the DER of [`PEM`].
pub const PEM_SHA1: &str = "c05d1edb0d5ae2136057496d1156392df6738d11";
/// The SHA-256 of the SubjectPublicKeyInfo of [`PEM`].
pub const PEM_SPKI: &str = "IVucEyML0eZVILtlZLg5hhrngDtsypdM+0y9Qben7cY=";
/// The end of the validity of [`PEM`].
pub const PEM_NOT_AFTER: &str = "2099-01-01T00:00:00Z";
/// The second certificate.
pub const OTHER_PEM: &str = "\
-----BEGIN CERTIFICATE-----
MIIC5jCCAc6gAwIBAgIEDA/+4TANBgkqhkiG9w0BAQsFADA0MQswCQYDVQQGEwJV
UzEQMA4GA1UEBwwHU2VhdHRsZTETMBEGA1UEAwwKQXBpR2F0ZXdheTAgFw0yNjAx
MDEwMDAwMDBaGA8yMDk5MDEwMTAwMDAwMFowNDELMAkGA1UEBhMCVVMxEDAOBgNV
BAcMB1NlYXR0bGUxEzARBgNVBAMMCkFwaUdhdGV3YXkwggEiMA0GCSqGSIb3DQEB
AQUAA4IBDwAwggEKAoIBAQCdNt54uSPJEPYZa1ErFjaXo16thAAAb+fDMocn2D7v
cxPV+KKAJg/Xy89O1P7tItYQZkvBjEk8IGTlUhKmdo5BUsVVTzPrf8EYy84Wcekg
NWcVa3mavmtoOQKjk4bX9dfPgWXPo2Px1v6HmvFH57Vz3ewsGpTsRnmHyGMdH3yH
bzdUb2Uw7S0GNbww5E4Gzh+IjV9rXe9uJ3A1+x4my3LXte3aDldQ7ohIGbPk3Cru
F942M90eRnAbneMWIvvsCTKyAlUoGXiOU09+s5r6r4Mf+SwaNFWeIIt72083y4a1
ooOQ4Xz/nXetohc5qtTYZ/152wpUb+omrY8UsvaQ/JdHAgMBAAEwDQYJKoZIhvcN
AQELBQADggEBAE/RWxANAhZLaatayTT3x5U5zKJiT1qWAZlc98XJKKGrmYvuLf4o
BjdTdeAjeqF0PG5yOybpLI74O9NH1tWEfcKTYGuNRN9f2BO5+ldkj9r4eRxSUHf2
kIvShdH504CVJxz886laYWlrnatQtoqM1AYGBTusmtrPYYs8Fn8xynRbjFZ3rqwI
crI61x7r/9uM1l+FR/C8jJTmY1J89zCI+oUHjMbteavBu9gzGpZVYxCrrcHl69dv
/S3TNg/Jo21DonM0AtfbquNXROHE/9TZrQ8zCbYc8Ie+ho3r6HOF0qMtnM0IWEoK
xu7+tcgd6bBmEPLwqA4KFblynC4b4AOgYoo=
-----END CERTIFICATE-----
";

/// The SHA-256 of the DER of [`OTHER_PEM`].
pub const OTHER_FINGERPRINT: &str = "f94a621f0a5b27a41c5991b4875adce9d09f1e51d8c6f43809606da72dd94bad";
/// The SHA-1 of the DER of [`OTHER_PEM`].
pub const OTHER_SHA1: &str = "81f0335da1cd9d6bf59434f3aa4c1bb17ba2b325";
/// The SHA-256 of the SubjectPublicKeyInfo of [`OTHER_PEM`].
pub const OTHER_SPKI: &str = "5RLU7wnQvhL3QSBFQxXZG9Q+4DjN0DuwZHo2JXaJOF4=";

/// A resource as the API server returns it.
pub fn resource(name: &str) -> crate::api::ClientCertificateRef {
    let mut resource = crate::api::ClientCertificateRef::default();
    resource.metadata.name = Some(name.to_owned());
    resource.metadata.namespace = Some("backends".to_owned());
    resource.metadata.uid = Some(format!("uid-{name}"));
    resource.metadata.generation = Some(1);
    resource.metadata.resource_version = Some("10".to_owned());
    resource.spec.client_certificate_id = Some("9ao60f".to_owned());
    resource.spec.refresh_interval = "5m".to_owned();
    resource
}

/// The Secret after a write of `desired`.
pub fn secret_of(desired: &crate::target::Desired) -> k8s_openapi::api::core::v1::Secret {
    stored(desired)
}

/// The object after a write of `desired`.
pub fn stored<K: crate::target::TargetObject>(desired: &crate::target::Desired) -> K {
    let mut object = K::of_desired(desired, desired.merge(None), None, false);
    object.metadata_mut().uid = Some("uid-target".to_owned());
    object.metadata_mut().resource_version = Some("20".to_owned());
    object
}

/// A certificate as API Gateway returns it.
pub fn certificate(id: &str, pem: &str) -> crate::aws::gateway::ClientCertificate {
    crate::aws::gateway::ClientCertificate {
        id: id.to_owned(),
        description: String::new(),
        created: None,
        expires: None,
        pem: pem.to_owned(),
        tags: Default::default(),
    }
}

/// The source of a resource, without rules.
pub fn source_of(resource: &crate::api::ClientCertificateRef) -> Result<crate::aws::gateway::Source, ReadFailure> {
    Ok(crate::aws::gateway::Source::own(
        "us-east-1",
        resource.spec.client_certificate_id.as_deref().unwrap_or_default(),
    ))
}

/// The desired target of a resource with this one certificate.
pub fn rendered(
    resource: &crate::api::ClientCertificateRef,
    pem: &str,
    now: jiff::Timestamp,
) -> crate::target::Desired {
    let certificate = crate::certificate::Certificate::parse(pem).unwrap();
    let trusted = crate::target::Trusted { main: Some(&certificate), additional: vec![] };
    crate::target::render(resource, &trusted, &Default::default(), now).unwrap()
}
