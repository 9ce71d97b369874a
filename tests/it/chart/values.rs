//! The chart refuses invalid values, with a message that names the value and the fault.

use std::collections::BTreeSet;
use std::process::Command;

use operator_testing::go_programs;
use serde_json::Value;

use super::{file, folder, refusal, text};

#[test]
fn unknown_and_wrong_values_are_refused_by_name() {
    for (values, fragments) in [
        (r#"replica=3"#, ["replica", "not allowed"]),
        (r#"image={"repo":"x"}"#, ["/image", "'repo' not allowed"]),
        (r#"watch={"namespace":["a"]}"#, ["/watch", "'namespace' not allowed"]),
        (r#"replicas="two""#, ["/replicas", "got string, want integer"]),
        (r#"replicas=-1"#, ["/replicas", "minimum"]),
        (r#"replicas=1.5"#, ["/replicas", "want integer"]),
        (r#"image="x""#, ["/image", "got string, want object"]),
        (r#"image.repository="""#, ["/image/repository", "minLength"]),
        (r#"image.tag=1.5"#, ["/image/tag", "got number, want string"]),
        (r#"image.digest="sha256:12""#, ["/image/digest", "pattern"]),
        (r#"image.pullPolicy="Sometimes""#, ["/image/pullPolicy", "'Always', 'IfNotPresent', 'Never'"]),
        (r#"imagePullSecrets=["registry"]"#, ["/imagePullSecrets/0", "want object"]),
        (r#"region="Frankfurt""#, ["/region", "pattern"]),
        (r#"aws.endpointUrl="10.0.0.1:4566""#, ["/aws/endpointUrl", "pattern"]),
        (r#"aws.instanceMetadata="yes""#, ["/aws/instanceMetadata", "want boolean"]),
        (r#"serviceAccount.annotations={"a":true}"#, ["/serviceAccount/annotations/a", "want string"]),
        (r#"rbac.aggregate={"admin":true}"#, ["/rbac/aggregate", "'admin' not allowed"]),
        (r#"crds.keep="no""#, ["/crds/keep", "want boolean"]),
        (r#"watch.namespaces="backends""#, ["/watch/namespaces", "want array"]),
        (r#"watch.namespaces=["Back_ends"]"#, ["/watch/namespaces/0", "pattern"]),
        (r#"watch.namespaces=["a","a"]"#, ["/watch/namespaces", "equal"]),
        (r#"targets.kinds=["Pod"]"#, ["/targets/kinds/0", "'Secret', 'ConfigMap'"]),
        (r#"targets.kinds=[]"#, ["/targets/kinds", "minItems"]),
        (r#"leaderElection.enabled=1"#, ["/leaderElection/enabled", "want boolean"]),
        (r#"rules={"rules":[{"roles":[]}]}"#, ["/rules/rules/0", "missing property"]),
        (r#"rules={"rules":[{"namespaces":["a"],"region":["x"]}]}"#, ["/rules/rules/0", "'region' not allowed"]),
        (r#"rules={"rules":[{"namespaces":["a"],"roles":["certificates"]}]}"#, ["/rules/rules/0/roles/0", "pattern"]),
        (r#"rules={"default":{"namespaces":["a"]}}"#, ["/rules/default", "'namespaces' not allowed"]),
        (r#"rules={"default":"denied"}"#, ["/rules/default", "pattern"]),
        (r#"rules=[]"#, ["/rules", "want object"]),
        (r#"concurrency=0"#, ["/concurrency", "minimum"]),
        (r#"concurrency=5000"#, ["/concurrency", "maximum"]),
        (r#"rate="fast""#, ["/rate", "want null or number"]),
        (r#"rate=0"#, ["/rate", "minimum"]),
        (r#"burst=0"#, ["/burst", "minimum"]),
        (r#"expiringWithin="30d""#, ["/expiringWithin", "pattern"]),
        (r#"manageDescriptions="never""#, ["/manageDescriptions", "want null or boolean"]),
        (r#"logFormat="xml""#, ["/logFormat", "'auto', 'text', 'json'"]),
        (r#"extraEnv={"A":"b"}"#, ["/extraEnv", "want array"]),
        (r#"extraEnv=[{"value":"b"}]"#, ["/extraEnv/0", "missing property 'name'"]),
        (r#"extraEnv=[{"name":"A","value":1}]"#, ["/extraEnv/0/value", "want string"]),
        (r#"proxy.httpsProxy="proxy:3128""#, ["/proxy/httpsProxy", "pattern"]),
        (r#"caBundle.configMap="Company CA""#, ["/caBundle/configMap", "pattern"]),
        (r#"tracing.endpoint="collector:4317""#, ["/tracing/endpoint", "pattern"]),
        (r#"podLabels={"app.kubernetes.io/name":"x"}"#, ["/podLabels/app.kubernetes.io~1name", "false schema"]),
        (r#"commonLabels={"a":1}"#, ["/commonLabels/a", "want string"]),
        (r#"topologySpreadConstraints=[{"maxSkew":1}]"#, ["/topologySpreadConstraints/0", "topologyKey"]),
        (r#"terminationGracePeriodSeconds=5"#, ["/terminationGracePeriodSeconds", "minimum"]),
        (r#"service.port=0"#, ["/service/port", "minimum"]),
        (r#"networkPolicy.ports=["https"]"#, ["/networkPolicy/ports/0", "want integer"]),
        (r#"serviceMonitor.interval="often""#, ["/serviceMonitor/interval", "pattern"]),
        (r#"fullnameOverride="Mirror""#, ["/fullnameOverride", "pattern"]),
    ] {
        let message = refusal(&["--set-json", values]);
        assert!(fragments.iter().all(|fragment| message.contains(fragment)), "{values} is reported as: {message}");
    }
}

#[test]
fn conflicting_values_are_refused_with_a_remedy() {
    for (values, fragments) in [
        ("leaderElection.enabled=false", ["replicas is 2", "leaderElection.enabled=true or replicas=1"]),
        (
            "watch.namespaces={a},rules.rules[0].name=tenants,rules.rules[0].namespaceSelector.matchLabels.a=b",
            ["rule tenants has a namespaceSelector", "watch.namespaces"],
        ),
        (
            "watch.namespaces={a},rules.rules[0].namespaceSelector.matchLabels.a=b",
            ["rule rules[0] has a namespaceSelector", "leave watch.namespaces empty"],
        ),
        ("caBundle.configMap=a,caBundle.secret=b", ["caBundle must not have both", "configMap and secret"]),
    ] {
        let message = refusal(&["--set", values]);
        assert!(fragments.iter().all(|fragment| message.contains(fragment)), "{values} is reported as: {message}");
    }
}

/// The keys that only the schema or only the values have.
fn compare(schema: &Value, values: &Value, path: &str, differences: &mut Vec<String>) {
    let (Some(properties), Some(values)) = (schema["properties"].as_object(), values.as_object()) else { return };
    // The values that a parent chart may set.
    let outside = BTreeSet::from(["global", "enabled"]).into_iter().filter(|_| path.is_empty());
    let described: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
    let there: BTreeSet<&str> = values.keys().map(String::as_str).chain(outside).collect();
    // An empty map of values has no example keys.
    if !values.is_empty() {
        differences.extend(described.symmetric_difference(&there).map(|key| format!("{path}.{key}")));
    }
    for (key, value) in values {
        compare(&properties[key], value, &format!("{path}.{key}"), differences);
    }
}

#[test]
fn the_schema_and_the_values_have_the_same_keys() {
    let schema: Value = serde_json::from_str(&file("values.schema.json")).unwrap();
    let values: Value = serde_saphyr::from_str(&file("values.yaml")).unwrap();
    let mut differences = Vec::new();
    compare(&schema, &values, "", &mut differences);
    assert_eq!(differences, Vec::<String>::new());
}

#[test]
fn the_notes_have_the_next_command() {
    let notes = |arguments: &[&str]| {
        let mut helm = Command::new(go_programs::helm().unwrap());
        helm.args(["install", "ccr", "--dry-run=client", "--namespace=operators"]).arg(folder()).args(arguments);
        let output = helm.output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).split_once("NOTES:").unwrap().1.to_owned()
    };
    let plain = notes(&[]);
    assert!(
        plain.contains("kubectl -n operators rollout status deployment/ccr-client-certificate-operator"),
        "{plain}"
    );
    assert!(plain.contains("No region is set") && !plain.contains("watches"), "{plain}");
    let narrow = notes(&["--set", "watch.namespaces={a,b},targets.kinds={ConfigMap},region=eu-central-1"]);
    assert!(narrow.contains("watches a, b only") && narrow.contains("sees claims"), "{narrow}");
    assert!(narrow.contains("namespace: a") && narrow.contains("kind: ConfigMap"), "{narrow}");
    assert!(!narrow.contains("No region is set"), "{narrow}");
}
