//! What no document answers. An answer is what this account said today.

mod acm;

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use client_certificate_operator::aws::gateway::Gateway;
use tokio::time::sleep;

use super::calls::call;
use super::row;
use super::world::AccountWorld;
use crate::certificates::NewCertificate;
use crate::contract::World;

const STAGE: &str = "asked";
/// Six letters and digits that no certificate has.
const UNKNOWN: &str = "zzzzzz";
const UNTIL_SHOWN: Duration = Duration::from_secs(30);

/// Asks each, and goes on where one is not answered.
pub(super) async fn ask(world: &AccountWorld, out: &mut impl Write) -> Result<()> {
    let mut show = async |question: &str, answer: Result<String>| {
        row(out, question, &answer.unwrap_or_else(|error| format!("not answered: {error:#}")))?;
        world.delete_certificates().await;
        anyhow::Ok(())
    };
    show("Does the list contain tags?", tags_in_the_list(world).await).await?;
    show("What is the response to clearing a description?", clearing_a_description(world).await).await?;
    show("What is the response to clearing a stage?", clearing_a_stage(world).await).await?;
    show("UpdateStage with an unknown id?", switched_to(world, UNKNOWN).await).await?;
    show("UpdateStage with an unknown ARN?", an_unknown_arn(world).await).await?;
    show("Does DeleteClientCertificate refuse a presented one?", deleting_a_presented_one(world).await).await?;
    show("When does GetStages show a switch?", showing_a_switch(world).await).await?;
    for (question, leaf) in acm::presentable() {
        show(question, acm::presented(world, &leaf).await).await?;
    }
    show("GetClientCertificate with the ARN that a stage presents?", acm::read_as_generated(world).await).await?;
    show("Does GetClientCertificates list ACM certificates?", acm::listed_as_generated(world).await).await?;
    show("Does DeleteCertificate refuse a presented one?", acm::deleted_while_presented(world).await).await?;
    for (question, leaf) in acm::importable() {
        show(question, acm::imported(world, &leaf).await).await?;
    }
    row(
        out,
        "How long is the former certificate presented?",
        "not measured: this needs a backend that API Gateway can call",
    )
}

async fn tags_in_the_list(world: &AccountWorld) -> Result<String> {
    let made = world.make(NewCertificate::new()).await?;
    let mut position = None;
    loop {
        let request = world.client.get_client_certificates().limit(500).set_position(position);
        let page = call(&world.budget, "GetClientCertificates", async || request.clone().send().await).await?;
        let mut items = page.items.unwrap_or_default().into_iter();
        if let Some(item) = items.find(|item| item.client_certificate_id.as_ref() == Some(&made.id)) {
            return Ok(match item.tags.filter(|tags| !tags.is_empty()) {
                Some(_) => "yes".to_owned(),
                None => "no: the certificate has tags, and its item in the list has none".to_owned(),
            });
        }
        position = page.position.filter(|position| !position.is_empty());
        position.as_ref().context("the list omits a certificate that was just created")?;
    }
}

async fn clearing_a_description(world: &AccountWorld) -> Result<String> {
    use aws_sdk_apigateway::types::{Op, PatchOperation};
    let made = world.make(NewCertificate::new().description("before")).await?;
    let patch = PatchOperation::builder().op(Op::Replace).path("/description").value("").build();
    let request = world.client.update_client_certificate().client_certificate_id(made.id).patch_operations(patch);
    Ok(match call(&world.budget, "UpdateClientCertificate", async || request.clone().send().await).await {
        Ok(answer) => element("description", answer.description.as_deref()),
        Err(refused) => refused.said(),
    })
}

async fn clearing_a_stage(world: &AccountWorld) -> Result<String> {
    let made = world.make(NewCertificate::new()).await?;
    world.switch(STAGE, Some(&made.id)).await?;
    Ok(match world.update_stage(STAGE, "").await {
        Ok(answer) => element("clientCertificateId", answer.client_certificate_id.as_deref()),
        Err(refused) => refused.said(),
    })
}

fn element(name: &str, value: Option<&str>) -> String {
    match value {
        None => format!("200 without the element {name}"),
        Some(value) => format!("200 with {name} {value:?}"),
    }
}

/// What UpdateStage says to a certificate.
async fn switched_to(world: &AccountWorld, certificate: &str) -> Result<String> {
    world.switch(STAGE, None).await?;
    Ok(match world.update_stage(STAGE, certificate).await {
        Ok(answer) => element("clientCertificateId", answer.client_certificate_id.as_deref()),
        Err(refused) => refused.said(),
    })
}

async fn an_unknown_arn(world: &AccountWorld) -> Result<String> {
    let (account, region) = (world.gateway.own_account().await?, world.region());
    let arn = format!("arn:aws:acm:{region}:{account}:certificate/00000000-0000-0000-0000-000000000000");
    switched_to(world, &arn).await
}

async fn deleting_a_presented_one(world: &AccountWorld) -> Result<String> {
    let made = world.make(NewCertificate::new()).await?;
    world.switch(STAGE, Some(&made.id)).await?;
    Ok(match world.unmake(&made.id).await {
        Ok(()) => "no: 202".to_owned(),
        Err(refused) => format!("yes: {}", refused.said()),
    })
}

async fn showing_a_switch(world: &AccountWorld) -> Result<String> {
    use client_certificate_operator::aws::gateway::Place;
    let (old, new) = (world.make(NewCertificate::new()).await?, world.make(NewCertificate::new()).await?);
    world.switch(STAGE, Some(&old.id)).await?;
    world.switch(STAGE, Some(&new.id)).await?;
    let (switched, api, place) = (Instant::now(), world.api().await?, Place::own(world.region()));
    for read in 1.. {
        let stages = world.gateway.get_stages(&place, &api).await?;
        let shown = stages.into_iter().any(|stage| stage.name == STAGE && stage.certificate.as_ref() == Some(&new.id));
        let after = switched.elapsed();
        if shown {
            return Ok(format!("at read {read}, {:.1} s after the answer of UpdateStage", after.as_secs_f64()));
        }
        if after > UNTIL_SHOWN {
            break;
        }
        sleep(Duration::from_millis(200)).await;
    }
    Ok(format!("not within {UNTIL_SHOWN:?}"))
}
