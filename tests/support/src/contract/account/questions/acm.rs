//! Questions about ACM certificates, and about stages that present them, which no document answers.

use anyhow::Result;

use super::{STAGE, call, switched_to};
use crate::contract::account::world::AccountWorld;
use crate::private_ca::{Chain, KeyType, Leaf, NewLeaf, PrivateCa, Usage};

fn payments() -> NewLeaf {
    NewLeaf::new("payments.example.com")
}

fn of_rsa() -> Leaf {
    PrivateCa::root_with_key("Payments Root", KeyType::Rsa2048).issue(payments().key(KeyType::Rsa2048))
}

/// Certificates with different properties that UpdateStage may check.
pub(super) fn presentable() -> [(&'static str, Leaf); 4] {
    let ca = PrivateCa::root("Payments Root");
    let rsa = PrivateCa::root_with_key("Payments Root", KeyType::Rsa2048);
    let server = payments().key(KeyType::Rsa2048).usage(Usage::Server);
    [
        ("UpdateStage with the ARN of an RSA certificate?", of_rsa()),
        ("UpdateStage with the ARN of an ECDSA certificate?", ca.issue(payments())),
        ("UpdateStage with the ARN of a certificate for servers?", rsa.issue(server)),
        (
            "UpdateStage with the ARN of a certificate without a chain?",
            rsa.issue(payments().key(KeyType::Rsa2048).chain(Chain::None)),
        ),
    ]
}

/// The answer of UpdateStage to the ARN of this certificate.
pub(super) async fn presented(world: &AccountWorld, leaf: &Leaf) -> Result<String> {
    let arn = world.import_leaf(None, leaf).await?;
    switched_to(world, &arn).await
}

/// Certificates with different chains that ImportCertificate may check.
pub(super) fn importable() -> [(&'static str, Leaf); 2] {
    let ca = PrivateCa::root("Payments Root").intermediate("Payments Issuing");
    [
        ("ImportCertificate with a chain in the wrong order?", ca.issue(payments().chain(Chain::WrongOrder))),
        ("ImportCertificate with a chain without its root?", ca.issue(payments().chain(Chain::WithoutRoot))),
    ]
}

/// The answer of ImportCertificate.
pub(super) async fn imported(world: &AccountWorld, leaf: &Leaf) -> Result<String> {
    Ok(match world.import_leaf(None, leaf).await {
        Ok(_) => "200".to_owned(),
        Err(refused) => refused.said(),
    })
}

async fn on_a_stage(world: &AccountWorld) -> Result<String> {
    let arn = world.import_leaf(None, &of_rsa()).await?;
    world.switch(STAGE, Some(&arn)).await?;
    Ok(arn)
}

pub(super) async fn read_as_generated(world: &AccountWorld) -> Result<String> {
    let arn = on_a_stage(world).await?;
    let request = world.client.get_client_certificate().client_certificate_id(arn);
    Ok(match call(&world.budget, "GetClientCertificate", async || request.clone().send().await).await {
        Ok(answer) => format!("200 with clientCertificateId {:?}", answer.client_certificate_id.unwrap_or_default()),
        Err(refused) => refused.said(),
    })
}

pub(super) async fn listed_as_generated(world: &AccountWorld) -> Result<String> {
    let arn = on_a_stage(world).await?;
    let is_listed = world.list().await?.iter().any(|certificate| certificate.id == arn);
    Ok(if is_listed { "yes, by its ARN" } else { "no" }.to_owned())
}

pub(super) async fn deleted_while_presented(world: &AccountWorld) -> Result<String> {
    let arn = on_a_stage(world).await?;
    Ok(match world.unimport(&arn).await {
        Ok(()) => "no: 200".to_owned(),
        Err(refused) => format!("yes: {}", refused.said()),
    })
}
