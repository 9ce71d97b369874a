//! Lists in variables, in the forms that users write.

use std::process::Command;

use crate::faults::{SOON, World, started};

const BINARY: &str = env!("CARGO_BIN_EXE_client-certificate-operator");
/// An address of this host without a listener, for a proxy that must not be used.
const DEAD_PROXY: &str = "http://127.0.0.2:9";

#[test]
fn an_invalid_name_of_a_namespace_ends_the_start_with_2_and_is_named() {
    for (list, says) in [
        ("backends,Payments", r#""Payments" is not a name of a namespace"#),
        ("a;b", r#""a;b" is not a name of a namespace"#),
        ("*", r#""*" is not a name of a namespace"#),
        (",,", r#"",," contains no name of a namespace"#),
    ] {
        let output = Command::new(BINARY).arg("run").env_clear().env("CCR_NAMESPACES", list).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{list:?}: {text}");
        assert!(text.contains(says) && text.contains("--namespaces"), "{list:?}: {text}");
    }
}

#[tokio::test]
async fn spaces_in_lists_are_ignored() {
    let world = World::new("spaces").await;
    let namespaces = format!(" {0} , {0},", world.namespace);
    let builder = world.builder().env("CCR_NAMESPACES", namespaces).env("CCR_TARGET_KINDS", " Secret , ConfigMap ");
    let _operator = started(&builder).await;
    world.mirrored("one", true).await;
}

#[tokio::test]
async fn no_proxy_can_name_the_cluster_with_any_commas() {
    let world = World::new("no-proxy").await;
    let proxied = |no_proxy: &str| {
        let builder = world.builder().env("HTTPS_PROXY", DEAD_PROXY).env("HTTP_PROXY", DEAD_PROXY);
        builder.env("NO_PROXY", no_proxy)
    };
    for (n, no_proxy) in ["127.0.0.1,localhost,", " , 127.0.0.0/31 ,,.test"].into_iter().enumerate() {
        let mut operator = started(&proxied(no_proxy)).await;
        world.mirrored(&format!("r{n}"), true).await;
        operator.terminate(SOON).await.unwrap();
    }
    // The variable in lower case works too. The counterexample is a list that does not name the cluster.
    let small = proxied("").env_remove("NO_PROXY").env("no_proxy", "127.0.0.1,");
    started(&small).await.terminate(SOON).await.unwrap();
    let mut operator = proxied("127.0.0.2,").spawn().unwrap();
    operator.wait_for_log("is unreachable").await.unwrap();

    let verify = |no_proxy: &str| {
        let mut command = Command::new(BINARY);
        command.args(["verify", "--connect", "127.0.0.1:9", "--ref", &format!("{}/none", world.namespace)]);
        command.env("KUBECONFIG", world.kubeconfig()).env("HTTPS_PROXY", DEAD_PROXY).env("NO_PROXY", no_proxy);
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    assert!(verify("127.0.0.1,").contains("does not exist"), "{}", verify("127.0.0.1,"));
    assert!(verify("127.0.0.2,").contains("is unreachable"), "{}", verify("127.0.0.2,"));
}
