//! The cost of rendering the data of a target, with as many certificates as API Gateway's quota allows, in every
//! content.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use client_certificate_operator::api::{ClientCertificateRef, Content, Target};
use client_certificate_operator::certificate::Certificate;
use client_certificate_operator::target::{Desired, Password, Trusted, TruststoreInput, render};
use jiff::Timestamp;
use operator_testing::certificates::{NewCertificate, issue};
use rustix::time::{ClockId, clock_gettime};

use crate::report::{Report, milliseconds, quantile};

const CERTIFICATES: usize = 60;
const ROUNDS: usize = 50;
const ALLOWED: Duration = Duration::from_millis(5);
const CONTENTS: [Content; 8] = [
    Content::Bundle,
    Content::Active,
    Content::Sha256Pins,
    Content::Sha1Pins,
    Content::SpkiPins,
    Content::NginxMap,
    Content::EnvoySds,
    Content::Pkcs12,
];

pub fn measure(report: &mut Report) -> Result<()> {
    let issued = (0..CERTIFICATES).map(|_| issue(NewCertificate::new().shared_key()).certificate.pem);
    let certificates = issued.map(|pem| Certificate::parse(&pem)).collect::<Result<Vec<_>, _>>()?;
    let trusted = Trusted { main: certificates.first(), additional: certificates.iter().skip(1).collect() };
    let mut resource = ClientCertificateRef::default();
    let keys: BTreeMap<_, _> = CONTENTS.iter().map(|content| (format!("{content:?}"), *content)).collect();
    resource.spec.target = Target { keys: Some(keys), ..Target::default() };
    let password = Password::made(b"0123456789abcdef0123456789abcdef");
    let render =
        |input: &TruststoreInput| render(&resource, &trusted, input, Timestamp::now()).context("nothing to render");

    let first = TruststoreInput { password: password.clone(), last: None };
    let (desired, of_first) = timed(|| render(&first))?;
    ensure!(desired.data.len() == CONTENTS.len() + 1, "a key is missing: {desired:?}");
    let again = TruststoreInput { password, last: desired.truststore.as_ref() };
    let (unchanged, of_again) = timed(|| render(&again))?;
    ensure!(unchanged == desired, "the same certificates make another target");
    for (what, taken) in [("first", of_first), ("truststore unchanged", of_again)] {
        let what = format!("render: {CERTIFICATES} certificates, every content, {what}, processor time");
        report.limited(&what, milliseconds(taken), milliseconds(ALLOWED), taken <= ALLOWED);
    }
    Ok(())
}

/// The result of `make`, and the median of its processor time.
fn timed(make: impl Fn() -> Result<Desired>) -> Result<(Desired, Duration)> {
    let mut taken = Vec::with_capacity(ROUNDS);
    let desired = make()?;
    for _ in 0..ROUNDS {
        let before = processor_time();
        std::hint::black_box(make()?);
        taken.push(processor_time() - before);
    }
    Ok((desired, quantile(&taken, 0.5)))
}

/// The processor time of this thread so far.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
