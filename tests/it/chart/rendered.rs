//! The rules for the rendered chart.

use clap::Parser;
use client_certificate_operator::config::Cli;
use client_certificate_operator::rules::Rules;
use operator_testing::control_plane::ControlPlane;
use serde_json::{Value, json};

use super::{
    at, case, cases, helms, identities, kind, objects, of_kind, rendered, rendered_case, rendered_text,
    resources_of_rules, template, text, the, with_input,
};
use std::path::Path;
use std::process::Command;

#[test]
fn every_case_passes_the_lint_and_renders_the_same_by_helm_3_and_4() {
    for values in cases() {
        let values = values.to_str().unwrap();
        for helm in helms() {
            let mut lint = Command::new(helm);
            let output = lint.args(["lint", "--strict", "--values", values]).arg(super::folder()).output().unwrap();
            assert!(output.status.success(), "{values}: {}{}", text(&output.stdout), text(&output.stderr));
        }
        let [new, old] = helms().map(|helm| template(&helm, &["--values", values]));
        assert!(new.status.success() && old.status.success(), "{values}: {}{}", text(&new.stderr), text(&old.stderr));
        assert_eq!(objects(&text(&new.stdout)), objects(&text(&old.stdout)), "{values}");
    }
}

#[tokio::test]
async fn an_api_server_accepts_every_case_without_a_warning() {
    let control_plane = ControlPlane::shared().await.unwrap();
    for namespace in ["operators", "backends", "payments-test"] {
        let labels = json!({
            "pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted",
        });
        let object = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace, "labels": labels },
        });
        control_plane.apply_yaml(&object.to_string()).await.unwrap();
    }
    for values in cases() {
        let all = rendered(&["--values", values.to_str().unwrap()]);
        let (monitoring, built_in): (Vec<Value>, Vec<Value>) = all.into_iter().partition(|object| {
            object["apiVersion"] == "monitoring.coreos.com/v1" // the CRD of the Prometheus Operator does not exist here
        });
        assert_eq!(monitoring.len(), if values == case("everything") { 2 } else { 0 });
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": built_in });
        let mut apply = control_plane.kubectl();
        apply.args(["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"]);
        apply.args(["--warnings-as-errors", "--filename=-"]);
        let output = with_input(apply, &list.to_string());
        let stderr = text(&output.stderr);
        assert!(output.status.success() && stderr.is_empty(), "{}: {stderr}", values.display());
        assert_eq!(text(&output.stdout).lines().count(), built_in.len());
    }
}

#[test]
fn with_config_maps_only_no_rule_names_secrets() {
    assert!(resources_of_rules(&rendered_case("default")).contains("secrets"));
    let resources = resources_of_rules(&rendered_case("configmap-only"));
    assert!(resources.contains("configmaps") && !resources.contains("secrets"), "{resources:?}");
    let resources = resources_of_rules(&rendered(&["--set", "targets.kinds={Secret}"]));
    assert!(resources.contains("secrets") && !resources.contains("configmaps"), "{resources:?}");
}

#[test]
fn a_namespaced_installation_has_only_roles_in_its_namespaces_and_the_crd() {
    let namespaced = rendered_case("namespaced");
    let cluster_wide: Vec<_> =
        namespaced.iter().filter(|object| object.pointer("/metadata/namespace").is_none()).map(kind).collect();
    assert_eq!(cluster_wide, ["CustomResourceDefinition"]);
    let namespaces = |wanted: &str| -> Vec<Value> {
        of_kind(&namespaced, wanted).iter().map(|role| at(role, "/metadata/namespace").clone()).collect()
    };
    assert_eq!(namespaces("Role"), ["backends", "payments-test", "operators"].map(|n| json!(n)).to_vec());
    assert_eq!(namespaces("RoleBinding"), namespaces("Role"));
    assert!(!resources_of_rules(&namespaced).contains("namespaces"));

    let aggregated = rendered(&["--set", "watch.namespaces={a}"]);
    let roles: Vec<_> = of_kind(&aggregated, "ClusterRole").iter().map(|role| at(role, "/metadata/labels")).collect();
    assert_eq!(roles.len(), 1, "what lets viewers of the cluster see the resources");
    assert_eq!(roles[0]["rbac.authorization.k8s.io/aggregate-to-view"], "true");
    assert!(of_kind(&aggregated, "ClusterRoleBinding").is_empty());
}

#[test]
fn the_right_on_namespaces_exists_only_if_rules_may_select_by_label() {
    for (arguments, sees) in [
        (&[][..], true), // rules may come by hand
        (&["--set-json", r#"rules={"rules":[{"namespaces":["a"]}]}"#], false),
        (&["--set-json", r#"rules={"rules":[{"namespaces":["a"]},{"namespaceSelector":{}}]}"#], true),
    ] {
        assert_eq!(resources_of_rules(&rendered(arguments)).contains("namespaces"), sees, "{arguments:?}");
    }
}

/// The SecurityContextConstraints `restricted-v2` of OpenShift accept a pod of the restricted profile unchanged, if it
/// sets no ids: ids come from the range of the namespace.
#[test]
fn every_pod_runs_on_openshift_without_a_change() {
    let install = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/install.yaml")).unwrap();
    let job = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/samples/verify-job/verify-job.yaml");
    let sources = [rendered_text(&[]), install, std::fs::read_to_string(job).unwrap()];
    let mut pods = 0;
    for object in sources.iter().flat_map(|text| objects(text)) {
        let of_template = object.pointer("/spec/template/spec").filter(|_| kind(&object) != "CustomResourceDefinition");
        let Some(pod) = of_template.or_else(|| object.get("spec").filter(|_| kind(&object) == "Pod")) else { continue };
        pods += 1;
        let text = pod.to_string();
        for reported in
            ["runAsUser", "runAsGroup", "fsGroup", "supplementalGroups", "seLinuxOptions", "hostNetwork", "hostPath"]
        {
            assert!(!text.contains(reported), "{reported} is in {text}");
        }
        assert_eq!(
            at(pod, "/securityContext"),
            &json!({ "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } })
        );
        for container in at(pod, "/containers").as_array().unwrap() {
            let context = at(container, "/securityContext");
            assert_eq!(at(context, "/allowPrivilegeEscalation"), false);
            assert_eq!(at(context, "/capabilities"), &json!({ "drop": ["ALL"] }));
        }
        let taken = ["configMap", "downwardAPI", "emptyDir", "projected", "secret"];
        for volume in pod["volumes"].as_array().into_iter().flatten() {
            assert!(
                volume.as_object().unwrap().keys().all(|key| key == "name" || taken.contains(&key.as_str())),
                "{volume}"
            );
        }
    }
    assert_eq!(pods, 4, "the Deployment twice, the test of Helm, the Job");
}

#[test]
fn user_and_group_ids_can_be_set() {
    let all = rendered_case("ids");
    let context = at(the(&all, "Deployment"), "/spec/template/spec/securityContext");
    let own = json!({ "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532 });
    assert!(own.as_object().unwrap().iter().all(|(id, value)| context[id] == *value), "{context}");
    assert_eq!(
        (&context["runAsNonRoot"], &context["seccompProfile"]["type"]),
        (&json!(true), &json!("RuntimeDefault"))
    );
}

#[test]
fn the_service_has_an_address_of_each_ip_family_of_the_cluster() {
    let all = rendered(&[]);
    assert_eq!(at(the(&all, "Service"), "/spec/ipFamilyPolicy"), "PreferDualStack");
    let policy = rendered(&["--set", "networkPolicy.enabled=true"]);
    let policy = the(&policy, "NetworkPolicy");
    let blocks: Vec<&Value> =
        at(policy, "/spec/egress/2/to").as_array().unwrap().iter().map(|to| at(to, "/ipBlock/cidr")).collect();
    assert_eq!(blocks, ["169.254.170.23/32", "fd00:ec2::23/128"], "the agent of EKS Pod Identity on either family");
}

#[test]
fn the_operator_understands_the_rules_and_every_variable() {
    let all = rendered_case("everything");
    let config_maps = of_kind(&all, "ConfigMap");
    let rules = config_maps.iter().find(|map| at(map, "/metadata/name") == "mirror-rules").unwrap();
    let rules = Rules::parse(at(rules, "/data/rules.yaml").as_str().unwrap()).unwrap();
    assert!(rules.allow_roles() && rules.use_labels());
    // An empty file would be an error at the start.
    let default = rendered_case("default");
    let names: Vec<_> = of_kind(&default, "ConfigMap").iter().map(|map| at(map, "/metadata/name").clone()).collect();
    assert!(!names.iter().any(|name| name.as_str().unwrap().ends_with("-rules")), "{names:?}");

    let environment = environment(the(&all, "Deployment"));
    // An environment variable counts as its flag.
    let flag = |(name, value): &(String, Value)| {
        let name = name.strip_prefix("CCR_")?.to_lowercase().replace('_', "-");
        Some(format!("--{name}={}", value.as_str().unwrap_or("from-the-pod")))
    };
    let flags: Vec<String> = environment.iter().filter_map(flag).collect();
    assert_eq!(flags.len(), 12, "{flags:?}");
    let program = ["client-certificate-operator", "run"].map(String::from);
    Cli::try_parse_from(program.into_iter().chain(flags)).unwrap();
}

fn environment(deployment: &Value) -> Vec<(String, Value)> {
    let variables = at(deployment, "/spec/template/spec/containers/0/env").as_array().unwrap();
    variables.iter().map(|one| (one["name"].as_str().unwrap().to_owned(), one["value"].clone())).collect()
}

#[test]
fn every_variable_has_its_value() {
    let all = rendered_case("everything");
    let deployment = the(&all, "Deployment");
    let environment = environment(deployment);
    for (name, value) in [
        ("CCR_LEADER_ELECT", "true"),
        ("CCR_LEASE_NAME", "mirror"),
        ("CCR_RULES_FILE", "/etc/client-certificate-operator/rules.yaml"),
        ("CCR_CONCURRENCY", "16"),
        ("CCR_RATE", "0.5"),
        ("CCR_BURST", "2000000"),
        ("CCR_EXPIRING_WITHIN", "240h"),
        ("CCR_MANAGE_DESCRIPTIONS", "false"),
        ("CCR_LOG_FORMAT", "json"),
        ("CCR_PER_RESOURCE_METRICS", "false"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ENDPOINT_URL", "http://10.0.0.1:4566"),
        ("HTTPS_PROXY", "http://proxy:3128"),
        ("NO_PROXY", ".internal,10.0.0.0/8"),
        ("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"),
        ("SSL_CERT_DIR", "/etc/client-certificate-operator-ca"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.observability:4318"),
        ("RUST_LOG", "debug"),
    ] {
        assert!(environment.contains(&(name.to_owned(), json!(value))), "{name}={value} is not in {environment:?}");
    }
    let has = |name: &str| environment.iter().any(|(of, _)| of == name);
    assert!(has("CCR_HOLDER") && has("CCR_LEASE_NAMESPACE") && !has("AWS_EC2_METADATA_DISABLED"));

    let defaults = rendered_case("default");
    let names: Vec<_> = self::environment(the(&defaults, "Deployment")).into_iter().map(|(name, _)| name).collect();
    let expected =
        ["CCR_LEADER_ELECT", "CCR_LEASE_NAME", "CCR_LEASE_NAMESPACE", "CCR_HOLDER", "AWS_EC2_METADATA_DISABLED"];
    assert_eq!(names, expected, "the rest is left to the ConfigMap made by hand");
    let kinds = rendered(&["--set", "targets.kinds={ConfigMap},watch.namespaces={a,b}"]);
    let environment = self::environment(the(&kinds, "Deployment"));
    assert!(environment.contains(&("CCR_TARGET_KINDS".to_owned(), json!("ConfigMap"))), "{environment:?}");
    assert!(environment.contains(&("CCR_NAMESPACES".to_owned(), json!("a,b"))), "{environment:?}");
}

#[test]
fn the_pods_have_the_values() {
    let all = rendered_case("everything");
    let deployment = the(&all, "Deployment");
    let digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let image = format!("registry.example.com:5000/team/operator@{digest}");
    for (pointer, value) in [
        ("/spec/replicas", json!(3)),
        ("/spec/revisionHistoryLimit", json!(1)),
        ("/spec/strategy/rollingUpdate/maxUnavailable", json!(0)),
        ("/spec/template/metadata/labels/team", json!("edge")),
        ("/spec/template/metadata/annotations/note", json!("here")),
        ("/spec/template/spec/serviceAccountName", json!("mirror")),
        ("/spec/template/spec/imagePullSecrets/0/name", json!("registry")),
        ("/spec/template/spec/priorityClassName", json!("system-cluster-critical")),
        ("/spec/template/spec/terminationGracePeriodSeconds", json!(30)),
        ("/spec/template/spec/nodeSelector/kubernetes.io~1os", json!("linux")),
        ("/spec/template/spec/tolerations/0/key", json!("arm")),
        ("/spec/template/spec/topologySpreadConstraints/0/labelSelector/matchLabels", json!({ "team": "edge" })),
        ("/spec/template/spec/topologySpreadConstraints/1/maxSkew", json!(2)),
        ("/spec/template/spec/containers/0/image", json!(image)),
        ("/spec/template/spec/containers/0/imagePullPolicy", json!("Always")),
        ("/spec/template/spec/containers/0/resources/limits/memory", json!("200Mi")),
        ("/spec/template/spec/containers/0/envFrom/0/configMapRef/name", json!("mirror")),
        ("/spec/template/spec/containers/0/envFrom/1/secretRef/name", json!("aws")),
        ("/spec/template/spec/containers/0/volumeMounts/2/name", json!("scratch")),
        ("/spec/template/spec/volumes/1/configMap/items/0", json!({ "key": "bundle.pem", "path": "ca.crt" })),
        ("/spec/template/spec/volumes/2/name", json!("scratch")),
    ] {
        assert_eq!(at(deployment, pointer), &value, "{pointer}");
    }
    let constraint = "/spec/template/spec/topologySpreadConstraints/1/labelSelector/matchLabels";
    assert_eq!(at(deployment, constraint), at(deployment, "/spec/selector/matchLabels"), "one of its own is put in");
    assert!(
        all.iter().all(|object| at(object, "/metadata/labels/cost-centre") == "42"),
        "every object has commonLabels"
    );
    assert_eq!(at(the(&all, "CustomResourceDefinition"), "/metadata/annotations"), &Value::Null, "crds.keep is false");
    assert_eq!(at(the(&all, "PodDisruptionBudget"), "/spec/maxUnavailable"), 1);

    let single = rendered_case("single");
    assert_eq!(at(the(&single, "Deployment"), "/spec/strategy/type"), "Recreate", "two must not work at a time");
    let environment = environment(the(&single, "Deployment"));
    let has = |name: &str| environment.iter().any(|(of, _)| of == name);
    assert!(has("CCR_LEASE_NAME") && !has("CCR_LEADER_ELECT"), "it has a name, and holds no Lease");
    let kinds: Vec<&str> = single.iter().map(kind).collect();
    assert_eq!(kinds, ["Service", "Deployment", "Pod"], "nothing that the values leave to others");
}

#[test]
fn the_network_policy_allows_the_egress_of_the_operator_and_the_ingress_of_scrapers() {
    assert!(of_kind(&rendered(&[]), "NetworkPolicy").is_empty());
    let open = rendered(&["--set", "networkPolicy.enabled=true"]);
    let policy = the(&open, "NetworkPolicy");
    assert_eq!(at(policy, "/spec/podSelector"), at(the(&open, "Deployment"), "/spec/selector"));
    assert_eq!(at(policy, "/spec/ingress"), &json!([{ "ports": [{ "port": "http" }] }]));
    assert_eq!(at(policy, "/spec/egress/1/ports"), &json!([{ "port": 443 }, { "port": 6443 }]), "AWS, the API server");
    let all = rendered_case("everything");
    let policy = the(&all, "NetworkPolicy");
    let label = "/spec/ingress/0/from/0/namespaceSelector/matchLabels/kubernetes.io~1metadata.name";
    assert_eq!(at(policy, label), "monitoring");
    assert_eq!(at(policy, "/spec/egress/3/ports/0/port"), 3128, "a proxy's");
}

#[test]
fn the_chart_can_be_a_dependency_of_another_chart() {
    let whole = rendered(&["--set", "enabled=true,global.registry=x"]);
    assert_eq!(identities(&whole), identities(&rendered(&[])));
}

#[test]
fn two_installations_have_no_object_in_common() {
    let first = identities(&rendered(&["--set", "watch.namespaces={a}"]));
    let second = template(&helms()[0], &["--set", "watch.namespaces={b},crds.enabled=false", "--namespace=others"]);
    let second = identities(&objects(&text(&second.stdout)));
    assert!(second.len() > 5, "{second:?}");
    assert_eq!(first.intersection(&second).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn the_pod_of_helm_test_is_not_in_the_service() {
    let all = rendered_case("default");
    let (test, service) = (the(&all, "Pod"), the(&all, "Service"));
    assert_eq!(at(test, "/metadata/annotations/helm.sh~1hook"), "test");
    let selector = at(service, "/spec/selector").as_object().unwrap();
    let labels = at(test, "/metadata/labels");
    assert!(selector.iter().any(|(key, value)| labels.get(key) != Some(value)), "{labels}");
    let url = format!("http://{}:8080/readyz", at(service, "/metadata/name").as_str().unwrap());
    assert_eq!(at(test, "/spec/containers/0/args"), &json!(["probe", "--url", url]));
}
