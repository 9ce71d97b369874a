//! Runs the guide `renewal-by-stage.md` by its commands. The kubectl commands run unchanged. The AWS SDK replaces the
//! `aws` commands. Only the soak is shorter.

use k8s_openapi::api::core::v1::ConfigMap;
use operator_testing::emulator::DEFAULT_REGION;

use super::{API, STAGE};
use crate::fixture::{ID, WorldOf};
use crate::tags::guide::{Acted, argument, commands, page, update_stage};

#[tokio::test]
async fn a_renewal_with_a_stage() {
    let world: WorldOf<'static, ConfigMap> = WorldOf::start("guide-stage").await;
    world.emulator.present(DEFAULT_REGION, API, STAGE, Some(ID));
    let mut acted = Acted::start_page(world, "renewal-by-stage.md").await;
    let commands = commands(&page("renewal-by-stage.md"), "With the aws CLI");
    assert_eq!(commands.len(), 8, "{commands:#?}");
    let mut dropped = false;
    for command in &commands {
        if command.starts_with("NEW=$(aws apigateway generate-client-certificate") {
            acted.new = acted.generate(argument(command, "--tags ").split_once('=').unwrap()).await;
        } else if command.starts_with("aws apigateway update-stage") {
            assert_eq!(acted.safe().await, Some(true), "the commands before waited for it");
            update_stage(&acted.aws(), command, "$NEW", &acted.new).await;
        } else if command.starts_with("aws apigateway delete-client-certificate") {
            let new = acted.new.clone();
            acted.until_held(&[&new, ID]).await;
            acted.delete(argument(command, "--client-certificate-id ")).await;
            acted.world.ask("payments", "dropped").await;
            acted.until_held(&[&new]).await;
            dropped = true;
        } else {
            acted.kubectl(command).await;
        }
    }
    assert!(dropped);
}
