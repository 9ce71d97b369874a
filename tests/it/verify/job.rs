//! The sample Job: its permissions and its arguments. The control plane of the tests has no kubelet that could run it.

use serde_json::Value;

use super::*;

const JOB: &str = include_str!("../../../deploy/samples/verify-job/verify-job.yaml");

#[tokio::test]
async fn the_job_has_the_rights_and_reports_whether_a_backend_is_on() {
    let world = world("verify-job").await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/samples/verify-job");
    let applied = world.kubectl(&["apply", "--validate=strict", "--warnings-as-errors", "--filename", folder]).await;
    let shown = String::from_utf8_lossy(&applied.stderr);
    assert!(applied.status.success() && shown.is_empty(), "{shown}");

    let documents: Vec<Value> = serde_saphyr::from_multiple(JOB).unwrap();
    let job = documents.iter().find(|document| document["kind"] == "Job").unwrap();
    let pod = &job["spec"]["template"]["spec"];
    let account = pod["serviceAccountName"].as_str().unwrap();
    let kubeconfig = world.control_plane.service_account_kubeconfig(&world.namespace, account).await.unwrap();

    let backend = Backend { version: &TLS13, check: Check::Pinned, hints: vec![], answer: Answer::Always(200) };
    let on = backend.start(&world.right()).await;
    let off = Backend { check: Check::NotAsked, ..backend }.start(&world.right()).await;
    for (backend, code) in [(&on, 0), (&off, 3)] {
        // The test replaces the variable like the kubelet, and the backend by an existing one.
        let args = pod["containers"][0]["args"].as_array().unwrap().iter().map(|arg| {
            let arg = arg.as_str().unwrap().replace("$(NAMESPACE)", &world.namespace);
            arg.replace("payments.example.com:443", &backend.address.to_string())
        });
        let args: Vec<String> = args.collect();
        assert_eq!(args[0], "verify");
        let args: Vec<&str> = args[1..].iter().map(String::as_str).collect();
        let report = verify(&kubeconfig, &args).await;
        assert_eq!(report.code, code, "{}{}", report.stdout, report.stderr);
    }

    // The Job has no other permissions.
    for (verb, resource, answer) in
        [("get", "clientcertificaterefs", "yes"), ("list", "clientcertificaterefs", "no"), ("get", "secrets", "no")]
    {
        let who = format!("system:serviceaccount:{}:{account}", world.namespace);
        let asked = world.kubectl(&["auth", "can-i", verb, resource, "--as", &who]).await;
        assert_eq!(String::from_utf8_lossy(&asked.stdout).trim(), answer, "{verb} {resource}");
    }
}
