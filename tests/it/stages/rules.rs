//! The rules for the APIs that a namespace may follow.

use operator_testing::script::Operation::GetStages;

use super::*;
use crate::ground::started;

#[tokio::test]
async fn of_two_resources_with_one_stage_only_the_allowed_one_reads_the_stage() {
    let (allowed, refused) = (quiet_world("allowed").await, quiet_world("refused").await);
    let file = tempfile::NamedTempFile::new().unwrap();
    let rules = format!(
        "default: deny\nrules:\n- {{name: ours, namespaces: [{}], certificateIds: [none], restApiIds: ['a1b2*']}}\n- {{name: theirs, namespaces: [{}], certificateIds: ['*']}}\n",
        allowed.namespace, refused.namespace
    );
    std::fs::write(file.path(), rules).unwrap();
    let mut operators = Vec::new();
    for world in [&allowed, &refused] {
        operators.push(started(&world.builder().arg("--rules-file").arg(file.path().to_str().unwrap())).await);
        world.create_resource("payments", follows(json!({}))).await;
    }
    // The rule for the API allows the certificates of its stages, without their ids.
    allowed.until_ready("payments").await;
    present(&allowed, Some(NEW));
    allowed.ask_now("payments").await;
    allowed
        .until_it("payments", "it follows", |resource| held(resource)[0].0 == NEW && held(resource).len() == 2)
        .await;

    let resource = refused.until("payments", READ, "False", "CertificateNotAllowed").await;
    let says = message(&resource, READ);
    assert!(says.contains("allows REST API a1b2c3d4e5; add the id to the restApiIds"), "{says}");
    assert_eq!(condition(&resource, "Stalled").unwrap().reason, "CertificateNotAllowed");
    assert_eq!(refused.emulator.count(GetStages), 0);
    assert!(refused.targets().get_opt("payments").await.unwrap().is_none());
}
