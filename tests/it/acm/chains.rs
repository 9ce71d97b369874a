//! Chains of every shape.

use client_certificate_operator::api::CertificateRole::Main;
use operator_testing::private_ca::{Chain, KeyType, Usage};

use super::*;

#[tokio::test]
async fn chains_of_every_shape_are_mirrored_in_order_or_refused_with_the_reason() {
    let world = World::start("acm-chains").await;
    let cas = Cas::new();
    let issue = |new: NewLeaf| cas.issuing.issue(new);
    let leaf = || NewLeaf::new("api.example.com");
    let import = |leaf: Leaf| world.emulator.import_acm(DEFAULT_REGION, leaf);

    // Taken.
    let alone = issue(leaf().chain(Chain::None));
    let cases = [
        (
            "none",
            import(alone.clone()),
            alone.certificate.clone(),
            0,
            "ACM has no chain for it, which OpenSSL requires",
        ),
        ("full", import(issue(leaf())), cas.chain(), 2, ""),
        ("reversed", import(issue(leaf().chain(Chain::WrongOrder))), cas.chain(), 2, ""),
        (
            "rootless",
            import(issue(leaf().chain(Chain::WithoutRoot))),
            cas.issuing.certificate().to_owned(),
            1,
            "the chain has no root certificate, which OpenSSL requires",
        ),
        ("rsa", import(issue(leaf().key(KeyType::Rsa2048))), cas.chain(), 2, ""),
        ("p384", import(issue(leaf().key(KeyType::EcdsaP384).usage(Usage::Any))), cas.chain(), 2, ""),
    ];
    for (name, arn, ..) in &cases {
        world.create_resource(name, by_arn(arn, json!({}))).await;
    }
    for (name, _, bundle, chain, says) in &cases {
        let resource = world.until_ready(name).await;
        assert_eq!(held(&resource), [(Main, *chain)], "{name}");
        assert_eq!(data(&world.target(name).await, "ca.crt"), Some(bundle.as_str()), "{name}");
        assert!(message(&resource, READ).contains(says), "{name}: {}", message(&resource, READ));
    }

    // An authority that has ended is left out.
    let ended = cas.root.expired_intermediate("Ended");
    let arn = import(ended.issue(leaf()));
    world.create_resource("ended", by_arn(&arn, json!({}))).await;
    let resource = world.until_ready("ended").await;
    let says = "certificates of its chain have expired, so servers may refuse it: CN=Ended at ";
    assert!(message(&resource, READ).contains(says), "{}", message(&resource, READ));
    assert_eq!(data(&world.target("ended").await, "ca.crt"), Some(cas.root.certificate()));

    // Five at most.
    let others: Vec<_> = (0..5).map(|number| PrivateCa::root(&format!("Other {number}"))).collect();
    let extra: Vec<&str> = others.iter().map(PrivateCa::certificate).collect();
    let five = [&[cas.issuing.certificate(), cas.root.certificate()], &extra[..3]].concat();
    let arn = import(issue(leaf()).with_chain(&five));
    world.create_resource("five", by_arn(&arn, json!({}))).await;
    let resource = world.until_ready("five").await;
    assert_eq!(held(&resource), [(Main, 5)]);
    for (name, leaf, says) in [
        ("six", issue(leaf()).with_chain(&[&five[..], &extra[3..4]].concat()), "more than 5 certificates"),
        ("server", issue(leaf().usage(Usage::Server)), "lacks clientAuth"),
    ] {
        world.create_resource(name, by_arn(&import(leaf), json!({}))).await;
        let resource = world.until(name, READ, "False", "InvalidCertificate").await;
        assert!(message(&resource, READ).contains(says), "{}", message(&resource, READ));
        assert!(world.targets().get_opt(name).await.unwrap().is_none());
    }
}
