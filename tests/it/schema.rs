//! The validation of a spec by the API server: it refuses every invalid spec with a message that names the field and
//! its allowed values, and accepts a similar valid one.

mod document;

use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use serde_json::{Map, Value, json};

use client_certificate_operator::api::ClientCertificateRef;

use crate::fixture::{ID, World};

/// Sends specs to the API server as a dry run.
struct Door(Api<DynamicObject>);

impl Door {
    async fn open() -> Self {
        let world = World::without_operator("schema").await;
        let kind = ApiResource::erase::<ClientCertificateRef>(&());
        Door(Api::namespaced_with(world.client.clone(), &world.namespace, &kind))
    }

    /// The object that the API server would store, or its refusal.
    async fn knock(&self, spec: &Value) -> Result<DynamicObject, String> {
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "apigateway.clientcert.dev/v1alpha1",
            "kind": "ClientCertificateRef",
            "metadata": { "name": "tried" },
            "spec": spec,
        }))
        .unwrap();
        let params = PostParams { dry_run: true, ..PostParams::default() };
        match self.0.create(&params, &object).await {
            Ok(stored) => Ok(stored),
            Err(kube::Error::Api(status)) if status.code == 422 => Err(status.message.clone()),
            Err(error) => panic!("{spec}: {error}"),
        }
    }

    /// Checks that the API server refuses each of these fields in an otherwise valid spec, with a message that contains
    /// all these words.
    async fn refuses(&self, words: &[&str], fields: impl IntoIterator<Item = Value>) {
        for fields in fields {
            let spec = spec(&fields);
            match self.knock(&spec).await {
                Ok(_) => panic!("it should be refused: {spec}"),
                Err(message) => words.iter().for_each(|word| {
                    assert!(message.contains(word), "{spec}: {word:?} is not in: {message}");
                }),
            }
        }
    }

    /// Checks that the API server accepts each of these fields.
    async fn takes(&self, fields: impl IntoIterator<Item = Value>) {
        for fields in fields {
            let spec = spec(&fields);
            if let Err(message) = self.knock(&spec).await {
                panic!("it should be taken: {spec}: {message}");
            }
        }
    }
}

fn spec(fields: &Value) -> Value {
    let mut spec = json!({ "clientCertificateId": ID });
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    spec
}

/// One field with each of these values.
fn field<const N: usize>(name: &str, values: [&str; N]) -> Vec<Value> {
    values.iter().map(|value| json!({ name: value })).collect()
}

/// One field of the target with each of these values.
fn target<const N: usize>(name: &str, values: [Value; N]) -> Vec<Value> {
    values.iter().map(|value| json!({ "target": { name: value } })).collect()
}

fn many(count: usize) -> Value {
    (0..count).map(|n| (format!("key{n}"), json!("value"))).collect::<Map<_, _>>().into()
}

#[tokio::test]
async fn a_region_is_the_name_of_a_region_and_no_way_to_another_host() {
    let door = Door::open().await;
    let bad = ["x.evil.com/#", "us-east-1@h", "", "us-east-1.evil.com", "US-EAST-1", "us-east-1\n", "us-east"];
    door.refuses(&["spec.region", "must be the name of an AWS region, for example us-east-1"], field("region", bad))
        .await;
    door.refuses(&["spec.region", "32"], field("region", [&format!("{}-1", "us-east".repeat(5))])).await;
    door.takes(field("region", ["us-gov-west-1", "us-east-1", "ap-southeast-4", "us-iso-east-1"])).await;
    door.takes([json!({})]).await;
}

#[tokio::test]
async fn an_id_is_letters_and_digits() {
    let door = Door::open().await;
    let bad = ["", "a/b", "../9ao60f", "9ao 60f", " 9ao60f", "9ao60f\n", "9ao60f?x=y", "9ao%2f60f", "ä"];
    let words = ["spec.clientCertificateId", "must be the id of a client certificate: 1 to 64 letters, digits"];
    door.refuses(&words, field("clientCertificateId", bad)).await;
    door.refuses(&["spec.clientCertificateId", "64"], field("clientCertificateId", [&"a".repeat(65)])).await;
    door.refuses(
        &["set exactly one of clientCertificateId, stage and acmCertificateArn"],
        [json!({ "clientCertificateId": null })],
    )
    .await;
    door.takes(field("clientCertificateId", ["9ao60f", &"a".repeat(64), "A-b_9"])).await;
}

#[tokio::test]
async fn tags_are_those_that_aws_accepts() {
    let door = Door::open().await;
    let tags = |tags: Value| json!({ "additionalClientCertificateTags": tags });
    let field = "spec.additionalClientCertificateTags";
    door.refuses(&[field, "at least 1"], [tags(json!({}))]).await;
    door.refuses(&[field, "10"], [tags(many(11))]).await;
    let (long_key, long) = ("k".repeat(129), "v".repeat(257));
    let bad = [json!({ "": "a" }), json!({ long_key: "a" }), json!({ "a$": "b" }), json!({ "a": "b;c" })];
    door.refuses(&[field, "must have tags that AWS accepts: a key of 1 to 128"], bad.map(tags)).await;
    door.refuses(&[field, "256"], [tags(json!({ "a": long }))]).await;
    let (key, value, letters) = ("k".repeat(128), "v".repeat(256), "ü".repeat(256));
    door.takes(
        [
            json!({ "app": "payments" }),
            json!({ "Größe des Dienstes": "zwei Wörter" }),
            json!({ "team": "支付" }),
            json!({ key: value }),
            json!({ "a": letters, "aws:cloudformation:stack-name": "b", "mail": "a+b@example.com/x=y_z-1" }),
            json!({ "empty": "" }),
            many(10),
        ]
        .map(tags),
    )
    .await;
}

#[tokio::test]
async fn soak_and_overlap_are_durations_within_their_bounds() {
    let door = Door::open().await;
    let bad = ["", "0", "-1m", "1d", "15 minutes", "+1m", "24h1s", "1441m"];
    door.refuses(&["spec.soak", "must be a duration from 0s to 24h"], field("soak", bad)).await;
    door.takes(field("soak", ["0s", "24h", "15m", "1h30m", "0.5s", "1440m"])).await;
    let bad = ["", "0", "-1m", "7d", "168h1s", "200h"];
    door.refuses(&["spec.overlap", "must be a duration from 0s to 168h"], field("overlap", bad)).await;
    door.takes(field("overlap", ["0s", "168h", "1h", "72h30m"])).await;
    let long = "1h".repeat(13);
    door.refuses(&["spec.overlap", "24"], field("overlap", [&long])).await;
    door.refuses(&["spec.target.verifierClass", "OverlapSafe"], target("verifierClass", [json!("Lax")])).await;
    door.takes(target("verifierClass", [json!("OverlapSafe"), json!("FirstWins")])).await;
}

#[tokio::test]
async fn a_role_is_the_arn_of_a_role_and_no_way_to_anything_else() {
    let door = Door::open().await;
    let role = |arn: &str| json!({ "assumeRole": { "roleArn": arn } });
    let bad = [
        "",
        "certificates",
        "arn:aws:iam::111122223333:user/certificates",
        "arn:aws:iam::111122223333:role/",
        "arn:aws:iam::1111:role/certificates",
        "arn:aws:iam:us-east-1:111122223333:role/certificates",
        "arn:aws:sts::111122223333:assumed-role/certificates/x",
        "arn:other:iam::111122223333:role/certificates",
        "arn:aws:iam::111122223333:role/certificates\n",
        "arn:aws:iam::111122223333:role/a b",
        "arn:aws:iam::111122223333:role/*",
        "arn:aws:iam::{namespace}:role/certificates",
        " arn:aws:iam::111122223333:role/certificates",
    ];
    let words =
        ["spec.assumeRole.roleArn", "must be the ARN of an IAM role, for example arn:aws:iam::111122223333:role/"];
    door.refuses(&words, bad.map(role)).await;
    let of_length = |length: usize| format!("arn:aws:iam::111122223333:role/{}", "r".repeat(length));
    door.refuses(&["spec.assumeRole.roleArn"], [role(&of_length(640)), json!({ "assumeRole": {} })]).await;
    let good = [
        "arn:aws:iam::111122223333:role/certificates",
        "arn:aws-cn:iam::111122223333:role/path/of/it/certificates",
        "arn:aws-us-gov:iam::111122223333:role/a_B+c=d,e.f@g-h",
        &of_length(577),
    ];
    door.takes(good.map(role)).await;

    let with_id = |id: &str| json!({ "assumeRole": { "roleArn": good[0], "externalId": id } });
    let bad = ["", "x", "a b", "a\n", "ä1", "{namespace}", "a;b"].map(with_id);
    door.refuses(&["spec.assumeRole.externalId", "must have 2 to 1224 letters, digits"], bad).await;
    door.refuses(&["spec.assumeRole.externalId", "1224"], [with_id(&"x".repeat(1225))]).await;
    door.takes(["12", "shop:a/b", "_+=,.@:/-", &"x".repeat(1224)].map(with_id)).await;
    // A role has no field that could name a host.
    for field in ["endpoint", "endpointUrl", "stsRegion"] {
        let mut spec = json!({ "clientCertificateId": ID, "assumeRole": { "roleArn": good[0] } });
        spec["assumeRole"][field] = json!("https://example.com");
        let stored = door.knock(&spec).await.unwrap();
        assert_eq!(stored.data["spec"]["assumeRole"], json!({ "roleArn": good[0] }), "{field} is dropped");
    }
}

#[tokio::test]
async fn a_refresh_interval_is_a_duration_from_thirty_seconds_to_a_day() {
    let door = Door::open().await;
    let words = ["spec.refreshInterval", "must be a duration from 30s to 24h in s, m and h, for example 90s"];
    let bad = ["0", "0s", "-1m", "5 minutes", "5", "", "1d", "30s\n", "m", "1e2s", "29s", "29.9s", "24h1s", "87600h"];
    door.refuses(&words, field("refreshInterval", bad)).await;
    let huge = ["99999999999999999999999h", "9223372037s", "2562048h", "1.99999999999999999999s"];
    door.refuses(&words, field("refreshInterval", huge)).await;
    door.refuses(&["spec.refreshInterval", "24"], field("refreshInterval", ["9999999999999999999999999h"])).await;
    door.takes(field("refreshInterval", ["30s", "24h", "1h30m", "1.5m", "1440m", "29.9s0.1s"])).await;
}

#[tokio::test]
async fn a_target_takes_a_preset_or_keys() {
    let door = Door::open().await;
    let both = json!({ "target": { "preset": "CaCrt", "keys": { "ca.crt": "Bundle" } } });
    door.refuses(&["spec.target", "must not have both preset and keys"], [both]).await;
    door.refuses(
        &["spec.target.preset", r#"supported values: "CaCrt", "NginxOrgCa", "TlsCrt", "IstioCacert", "Pkcs12""#],
        target("preset", [json!("Nginx"), json!("")]),
    )
    .await;
    let presets = ["CaCrt", "NginxOrgCa", "TlsCrt", "IstioCacert", "Pkcs12"];
    door.takes(target("preset", presets.map(|preset| json!(preset)))).await;
    door.takes(target("keys", [json!({ "ca.crt": "Bundle", "client.pem": "Active" })])).await;
    door.takes([json!({ "target": {} })]).await;
}

#[tokio::test]
async fn keys_name_files_and_known_contents() {
    let door = Door::open().await;
    let contents = ["Bundle", "Active", "Sha256Pins", "Sha1Pins", "SpkiPins", "NginxMap", "EnvoySds", "Pkcs12"];
    let known = contents.map(|content| format!("{content:?}")).join(", ");
    let words = ["spec.target.keys", &format!("supported values: {known}")];
    let unknown = ["Chain", "", "bundle", "Sha512Pins"].map(|content| json!({ "ca.crt": content }));
    door.refuses(&words, target("keys", unknown)).await;
    door.refuses(&["spec.target.keys"], target("keys", [json!({ "ca.crt": null }), json!({ "ca.crt": ["Bundle"] })]))
        .await;
    door.takes(target("keys", contents.map(|content| json!({ "key": content })))).await;
    door.refuses(&["spec.target.keys", "at least 1"], target("keys", [json!({})])).await;
    let bad = ["..x", "a/b", "", ".", "..", "a b", "ca.crt\n", &"k".repeat(254)].map(|key| json!({ key: "Bundle" }));
    door.refuses(&["spec.target.keys", "must have file names as keys"], target("keys", bad)).await;
    let most = |count: usize| (0..count).map(|n| (n.to_string(), json!("Bundle"))).collect::<Map<_, _>>().into();
    door.refuses(&["spec.target.keys", "at most 16"], target("keys", [most(17)])).await;
    let good = ["ca.crt", ".hidden", "a..b", "A_1-x", &"k".repeat(253)].map(|key| json!({ key: "Bundle" }));
    door.takes(target("keys", good)).await;
    door.takes(target("keys", [most(16)])).await;
}

#[tokio::test]
async fn a_type_requires_keys_and_is_not_a_type_of_kubernetes() {
    let door = Door::open().await;
    let with_keys = |type_: &str| json!({ "target": { "type": type_, "keys": { "ca.crt": "Bundle" } } });
    let bad =
        ["kubernetes.io/service-account-token", "kubernetes.io/tls", "bootstrap.kubernetes.io/token", "opaque", ""];
    door.refuses(&["spec.target.type", r#"supported values: "Opaque", "nginx.org/ca""#], bad.map(with_keys)).await;
    door.refuses(
        &["spec.target", "target.type requires target.keys"],
        [
            json!({ "target": { "type": "Opaque" } }),
            json!({ "target": { "type": "nginx.org/ca", "preset": "CaCrt" } }),
            json!({ "target": { "type": "Opaque", "preset": "NginxOrgCa" } }),
            json!({ "target": { "type": "nginx.org/ca", "preset": "NginxOrgCa" } }),
        ],
    )
    .await;
    door.takes(["Opaque", "nginx.org/ca"].map(with_keys)).await;
}

#[tokio::test]
async fn a_target_has_the_name_of_an_object_and_a_known_kind_and_policy() {
    let door = Door::open().await;
    let bad = ["Payments", "pay_ments", "", "-a", "a-", "a..b", "a/b", ".a", "a\n", "b/../c"].map(|name| json!(name));
    door.refuses(
        &["spec.target.name", "must be the name of a Secret or ConfigMap: lower-case letters"],
        target("name", bad),
    )
    .await;
    door.refuses(&["spec.target.name", "253"], target("name", [json!("a".repeat(254))])).await;
    door.takes(target("name", [json!("payments"), json!("a"), json!("a.b-c.9"), json!("a".repeat(253))])).await;
    door.refuses(&["spec.target.kind", r#"supported values: "Secret", "ConfigMap""#], target("kind", [json!("Pod")]))
        .await;
    door.takes(target("kind", [json!("Secret"), json!("ConfigMap")])).await;
    let policies = r#"supported values: "Delete", "Retain""#;
    door.refuses(&["spec.target.deletionPolicy", policies], target("deletionPolicy", [json!("Orphan")])).await;
    door.takes(target("deletionPolicy", [json!("Delete"), json!("Retain")])).await;
}

#[tokio::test]
async fn a_config_map_has_no_type_and_no_preset_of_secrets() {
    let door = Door::open().await;
    let map = |mut target: Value| {
        target["kind"] = "ConfigMap".into();
        json!({ "target": target })
    };
    let typed = ["Opaque", "nginx.org/ca"].map(|type_| map(json!({ "type": type_, "keys": { "ca.crt": "Bundle" } })));
    door.refuses(&["spec.target", "target.type requires kind Secret"], typed).await;
    door.refuses(
        &["spec.target", "target.preset NginxOrgCa, TlsCrt and IstioCacert require kind Secret", "use preset CaCrt"],
        ["NginxOrgCa", "TlsCrt", "IstioCacert"].map(|preset| map(json!({ "preset": preset }))),
    )
    .await;
    door.takes([
        map(json!({})),
        map(json!({ "preset": "CaCrt" })),
        map(json!({ "preset": "Pkcs12" })),
        map(json!({ "keys": { "tls.crt": "Bundle", "store.p12": "Pkcs12" } })),
    ])
    .await;
}

#[tokio::test]
async fn a_truststore_has_one_password_and_a_place_for_it() {
    let door = Door::open().await;
    let of = |mut target: Value, pkcs12: Value| {
        target["pkcs12"] = pkcs12;
        json!({ "target": target })
    };
    let preset = |pkcs12: Value| of(json!({ "preset": "Pkcs12" }), pkcs12);
    let given = json!({ "name": "java", "key": "password" });
    let elsewhere = [json!({}), json!({ "preset": "CaCrt" }), json!({ "keys": { "truststore.p12": "Bundle" } })];
    door.refuses(
        &["spec.target", "target.pkcs12 requires preset Pkcs12, or a key whose content is Pkcs12"],
        elsewhere.map(|target| of(target, json!({ "passwordKey": "pw" }))),
    )
    .await;
    door.refuses(
        &["spec.target.pkcs12", "must not have both passwordSecretRef and passwordKey"],
        [preset(json!({ "passwordSecretRef": given, "passwordKey": "pw" }))],
    )
    .await;
    let keys = |password: &str| json!({ "keys": { "a.p12": "Pkcs12", password: "Bundle" } });
    let collides = ["spec.target", "target.pkcs12.passwordKey (default: truststore.password) must not be a key"];
    door.refuses(&collides, [preset(json!({ "passwordKey": "truststore.p12" }))]).await;
    door.refuses(&collides, [of(keys("pw"), json!({ "passwordKey": "pw" }))]).await;
    door.refuses(
        &collides,
        [of(keys("truststore.password"), json!({})), json!({ "target": keys("truststore.password") })],
    )
    .await;
    let bad = ["", ".", "..", "..x", "a/b", "a b", "pw\n"].map(|key| preset(json!({ "passwordKey": key })));
    door.refuses(&["spec.target.pkcs12.passwordKey", "must be a file name"], bad).await;
    let incomplete = [json!({}), json!({ "name": "java" }), json!({ "key": "password" })];
    let incomplete = incomplete.map(|place| preset(json!({ "passwordSecretRef": place })));
    door.refuses(&["spec.target.pkcs12.passwordSecretRef", "Required"], incomplete).await;
    let empty = [json!({ "name": "", "key": "k" }), json!({ "name": "n", "key": "" })];
    let empty = empty.map(|place| preset(json!({ "passwordSecretRef": place })));
    door.refuses(&["spec.target.pkcs12.passwordSecretRef", "at least 1"], empty).await;
    door.takes([
        preset(json!({})),
        preset(json!({ "passwordKey": "truststore.password" })),
        preset(json!({ "passwordSecretRef": given })),
        of(keys("truststore.password"), json!({ "passwordSecretRef": given })),
        of(keys("truststore.password"), json!({ "passwordKey": "pw" })),
    ])
    .await;
}

#[tokio::test]
async fn additional_certificates_differ_from_the_main_one_and_from_each_other() {
    let door = Door::open().await;
    let ids = |ids: &[&str]| json!({ "additionalClientCertificateIds": ids });
    door.refuses(&["additionalClientCertificateIds must contain each id only once"], [ids(&["a", "b", "a"])]).await;
    let main = "additionalClientCertificateIds must not contain clientCertificateId";
    door.refuses(&["spec", main], [ids(&[ID]), ids(&["a", ID])]).await;
    let words =
        ["spec.additionalClientCertificateIds", "must contain ids of client certificates: 1 to 64 letters, digits"];
    door.refuses(&words, ["", "a/b", "../a", "a b", "a\n", "ä"].map(|id| ids(&[id]))).await;
    door.refuses(&["spec.additionalClientCertificateIds", "64"], [ids(&[&"a".repeat(65)])]).await;
    let many = |count: usize| json!({ "additionalClientCertificateIds": (0..count).map(|n| n.to_string()).collect::<Vec<_>>() });
    door.refuses(&["spec.additionalClientCertificateIds", "63"], [many(64)]).await;
    // Ids are case-sensitive.
    door.takes([ids(&[]), ids(&["a"]), ids(&["k2c0qe", "K2C0QE"]), many(63)]).await;
}

#[tokio::test]
async fn the_last_of_two_equal_keys_counts_unless_field_validation_is_strict() {
    let world = World::without_operator("twice").await;
    let yaml = format!(
        "apiVersion: apigateway.clientcert.dev/v1alpha1\nkind: ClientCertificateRef\nmetadata: {{name: twice}}\n\
         spec:\n  clientCertificateId: {ID}\n  target:\n    keys:\n      ca.crt: Bundle\n      ca.crt: Active\n"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), yaml).unwrap();
    // kubectl converts the YAML to JSON itself, so the API server never receives the first value.
    let args = ["create", "--validate=strict", "--dry-run=server", "--output=json", "--filename"];
    let output = world.kubectl(&[&args[..], &[file.path().to_str().unwrap()]].concat()).await;
    let last = json!({ "ca.crt": "Active" });
    let stored: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!(stored["spec"]["target"]["keys"], last);

    let body = format!(
        r#"{{"apiVersion": "apigateway.clientcert.dev/v1alpha1", "kind": "ClientCertificateRef", "metadata": {{"name": "twice"}},
        "spec": {{"clientCertificateId": "{ID}", "target": {{"keys": {{"ca.crt": "Bundle", "ca.crt": "Active"}}}}}}}}"#
    );
    let post = async |validation: &str| {
        let path = format!(
            "/apis/apigateway.clientcert.dev/v1alpha1/namespaces/{}/clientcertificaterefs?dryRun=All&fieldValidation={validation}",
            world.namespace
        );
        let request = http::Request::post(path).header("content-type", "application/json");
        world.client.request_text(request.body(body.clone().into_bytes()).unwrap()).await
    };
    match post("Strict").await {
        Err(kube::Error::Api(status)) => {
            assert!(status.message.contains(r#"duplicate field "spec.target.keys.ca.crt""#), "{}", status.message);
        }
        other => panic!("{other:?}"),
    }
    let stored: Value = serde_json::from_str(&post("Ignore").await.unwrap()).unwrap();
    assert_eq!(stored["spec"]["target"]["keys"], last);
}

#[tokio::test]
async fn labels_and_annotations_of_other_controllers_are_refused() {
    let door = Door::open().await;
    for map in ["labels", "annotations"] {
        let path = format!("spec.target.{map}");
        let reserved = [
            "kubernetes.io/metadata.name",
            "k8s.io/x",
            "sub.kubernetes.io/x",
            "kubernetes.io/service-account.name",
            "app.kubernetes.io/managed-by",
            "argocd.argoproj.io/secret-type",
            "meta.helm.sh/release-name",
            "apigateway.clientcert.dev/managed",
            "apigateway.clientcert.dev/owner",
            "sub.apigateway.clientcert.dev/x",
        ];
        door.refuses(
            &[&path, "must not have keys under kubernetes.io, k8s.io"],
            target(map, reserved.map(|k| json!({ k: "x" }))),
        )
        .await;
        let malformed = ["", "/", "a/", "/a", "a b", "a/b/c", "-a", "a-", "Domain/x", &"k".repeat(64), "a\n"];
        let form = "must have keys of the form name or domain/name";
        door.refuses(&[&path, form], target(map, malformed.map(|key| json!({ key: "x" })))).await;
        door.refuses(&[&path, form], target(map, [json!({ format!("{}/x", "d".repeat(254)): "x" })])).await;
        door.refuses(&[&path, "at most 32"], target(map, [many(33)])).await;
        let good = ["team", "example.com/team", "notkubernetes.io/x", "kubernetes.io.example.com/x", &"k".repeat(63)];
        door.takes(target(map, good.map(|key| json!({ key: "x" })))).await;
        door.takes(target(map, [many(32), json!({}), json!({ "team": "" })])).await;
    }
}

#[tokio::test]
async fn a_certificate_for_kong_is_refused_with_the_reason() {
    let door = Door::open().await;
    let words = ["spec.target.labels", "Kong rejects API Gateway's certificates", "lack the 'CA' basic constraint"];
    door.refuses(&words, target("labels", [json!({ "konghq.com/ca-cert": "true" })])).await;
    door.takes(target("labels", [json!({ "konghq.com/credential": "x" })])).await;
}

#[tokio::test]
async fn a_label_has_a_value_that_kubernetes_accepts() {
    let door = Door::open().await;
    let bad = ["a b", "-a", "a-", "ä", "a/b", "a\n"].map(|value| json!({ "team": value }));
    door.refuses(&["spec.target.labels", "must have values of letters, digits"], target("labels", bad.clone())).await;
    door.refuses(&["spec.target.labels", "63"], target("labels", [json!({ "team": "v".repeat(64) })])).await;
    door.takes(target("labels", [json!({ "team": "v".repeat(63) }), json!({ "team": "a.B_c-9" })])).await;
    door.takes(target("annotations", bad)).await;
    door.refuses(&["spec.target.annotations", "4096"], target("annotations", [json!({ "note": "v".repeat(4097) })]))
        .await;
    door.takes(target("annotations", [json!({ "note": "v".repeat(4096) })])).await;
}

#[tokio::test]
async fn a_description_is_any_text_of_at_most_1024_characters() {
    let door = Door::open().await;
    door.refuses(&["spec.description", "1024"], field("description", [&"d".repeat(1025), &"🦀".repeat(1025)])).await;
    let (long, most, most_emoji) = ("d".repeat(300), "d".repeat(1024), "🦀".repeat(1024));
    let good = [
        long.as_str(),
        &most,
        &most_emoji,
        "pay 🦀 ments 👩‍👩‍👧",
        "it's \"quoted\" and `ticked`",
        "two\nlines\r\n\tand a tab",
        r#"{"op": "replace", "path": "/description"}"#,
        "",
        " ",
    ];
    door.takes(field("description", good)).await;
}

#[tokio::test]
async fn defaults_are_filled_in() {
    let door = Door::open().await;
    let stored = door.knock(&json!({ "clientCertificateId": ID })).await.unwrap();
    let target = json!({ "kind": "Secret", "adopt": false, "deletionPolicy": "Delete" });
    let defaults = json!({ "clientCertificateId": ID, "refreshInterval": "5m", "suspend": false, "target": target });
    assert_eq!(stored.data["spec"], defaults);
    // The target gets its defaults also if only a part of it is set, and if a client sends nulls.
    let stored = door.knock(&json!({ "clientCertificateId": ID, "target": { "name": "a" } })).await.unwrap();
    assert_eq!(stored.data["spec"]["target"]["deletionPolicy"], "Delete");
    let nulls = json!({ "clientCertificateId": ID, "refreshInterval": null, "region": null, "target": null });
    assert_eq!(door.knock(&nulls).await.unwrap().data["spec"], defaults);
}
