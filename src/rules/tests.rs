use super::*;

const ROLE: &str = "arn:aws:iam::111122223333:role/certificates-payments";

fn rules(text: &str) -> Rules {
    Rules::parse(text).unwrap()
}

fn wanted<'a>(namespace: &'a str, labels: &'a BTreeMap<String, String>) -> Wanted<'a> {
    Wanted { namespace, labels, role: None, region: "us-east-1", what: What::Certificate("9ao60f") }
}

fn permit(rules: &Rules, change: impl FnOnce(&mut Wanted<'static>)) -> Result<Permit, Refusal> {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    let mut wanted = wanted("payments", &NONE);
    change(&mut wanted);
    rules.permit(wanted)
}

fn with_role(external_id: Option<&'static str>) -> impl FnOnce(&mut Wanted<'static>) {
    move |wanted| wanted.role = Some((ROLE, external_id))
}

fn external_id(permit: Result<Permit, Refusal>) -> Option<String> {
    match permit.unwrap().identity {
        Identity::Role(role) => role.external_id.clone(),
        Identity::Operator => panic!("a role was wanted"),
    }
}

#[test]
fn without_a_file_everything_except_roles_is_allowed() {
    let rules = Rules::default();
    let permit_own = permit(&rules, |_| {}).unwrap();
    assert_eq!(permit_own, Permit { identity: Identity::Operator, description: Ok(()) });
    let refusal = permit(&rules, with_role(None)).unwrap_err();
    assert_eq!(refusal.reason(), Reason::RoleNotAllowed);
    assert!(refusal.to_string().contains(ROLE) && refusal.to_string().contains("roles of a rule"), "{refusal}");
    assert!(!rules.allow_roles() && !rules.use_labels());
}

#[test]
fn a_rule_applies_only_to_its_namespaces() {
    let rules = rules(&format!("rules: [{{name: pay, namespaces: [payments], roles: ['{ROLE}']}}]"));
    let Identity::Role(role) = permit(&rules, with_role(Some("shop"))).unwrap().identity else { panic!("a role") };
    assert_eq!((role.arn.as_str(), role.external_id.as_deref()), (ROLE, Some("shop")));
    assert_eq!((role.namespace.as_str(), role.tags_session), ("payments", false));
    let elsewhere = permit(&rules, |wanted| {
        with_role(None)(wanted);
        wanted.namespace = "orders";
    });
    assert_eq!(elsewhere.unwrap_err().reason(), Reason::RoleNotAllowed);
}

#[test]
fn a_rule_can_select_namespaces_by_label() {
    let rules = rules(
        "rules: [{namespaceSelector: {matchLabels: {team: pay}, matchExpressions: [{key: env, operator: In, values: [prod]}]}, regions: [eu-central-1]}]",
    );
    assert!(rules.use_labels());
    let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let (fitting, other) = (labels(&[("team", "pay"), ("env", "prod")]), labels(&[("team", "pay")]));
    assert_eq!(rules.permit(wanted("a", &fitting)).unwrap_err().reason(), Reason::RegionNotAllowed);
    assert!(rules.permit(wanted("a", &other)).is_ok(), "no rule names it, so the default counts");
}

#[test]
fn omitted_fields_of_a_rule_have_the_defaults_and_set_fields_apply() {
    let rules = rules(
        "default: {ownCredentials: false, descriptions: false}
rules:
- {name: pay, namespaces: [payments], regions: [us-*], certificateIds: [9ao60f, 'k*'], descriptions: false}",
    );
    let refused = |change: &dyn Fn(&mut Wanted<'static>)| permit(&rules, change).unwrap_err();
    assert_eq!(refused(&|w| w.region = "eu-west-1").reason(), Reason::RegionNotAllowed);
    assert_eq!(refused(&|w| w.what = What::Certificate("zzzzzz")).reason(), Reason::CertificateNotAllowed);
    assert_eq!(refused(&|w| w.namespace = "orders").reason(), Reason::RoleNotAllowed);
    let permit = permit(&rules, |w| w.what = What::Certificate("k2c0qe")).unwrap();
    let refusal = permit.description.unwrap_err();
    assert_eq!(refusal.reason(), Reason::DescriptionNotAllowed);
    assert!(refusal.to_string().contains("payments (pay)"), "{refusal}");
}

#[test]
fn a_rule_for_some_certificates_allows_no_stage_unless_it_names_the_api() {
    let permits = |text: &str, api| {
        let rules = rules(&format!("rules: [{{namespaces: [payments], {text}}}]"));
        permit(&rules, |wanted| wanted.what = What::RestApi(api))
    };
    assert!(permits("regions: [us-east-1]", "a1b2c3").is_ok(), "neither is limited");
    let refusal = permits("certificateIds: [9ao60f]", "a1b2c3").unwrap_err();
    assert_eq!(refusal.reason(), Reason::CertificateNotAllowed);
    assert!(refusal.to_string().contains("REST API a1b2c3; add the id to the restApiIds"), "{refusal}");
    assert!(permits("certificateIds: [9ao60f], restApiIds: ['a1*']", "a1b2c3").is_ok());
    assert!(permits("restApiIds: ['a1*']", "b1b2c3").is_err());
    assert!(permits("restApiIds: []", "a1b2c3").is_err());
}

#[test]
fn a_namespace_without_a_rule_has_nothing_if_the_default_is_deny() {
    let rules = rules("default: deny\nrules: [{namespaces: [payments]}]");
    assert!(permit(&rules, |_| {}).is_ok());
    let own = permit(&rules, |wanted| wanted.namespace = "orders");
    let with_role = permit(&rules, |wanted| {
        with_role(None)(wanted);
        wanted.namespace = "orders";
    });
    for refused in [own, with_role] {
        let refusal = refused.unwrap_err();
        assert_eq!(refusal.reason(), Reason::RoleNotAllowed);
        let message = refusal.to_string();
        assert!(message.contains("add a rule for the namespace"), "{message}");
        assert!(message.contains("orders") && !message.contains("ownCredentials"), "{message}");
    }
    assert!(!rules.allow_roles());
}

#[test]
fn grants_are_alternatives_and_are_not_combined() {
    let rules = rules(&format!(
        "rules:
- {{name: a, namespaces: [payments], regions: [us-east-1], descriptions: false}}
- {{name: b, namespaces: [payments], regions: [eu-west-1], roles: ['{ROLE}'], ownCredentials: false}}"
    ));
    assert!(permit(&rules, |_| {}).unwrap().description.is_err());
    let of_b = |w: &mut Wanted<'static>| {
        with_role(None)(w);
        w.region = "eu-west-1";
    };
    assert_eq!(permit(&rules, of_b).unwrap().description, Ok(()));
    assert_eq!(
        permit(&rules, with_role(None)).unwrap_err().reason(),
        Reason::RegionNotAllowed,
        "the role, but not here"
    );
}

#[test]
fn an_external_id_can_be_forced() {
    let rules = rules(
        "rules: [{namespaces: [payments], roles: ['arn:aws:iam::*:role/certificates-{namespace}'], externalId: 'ccr/{namespace}', sessionTags: true}]",
    );
    assert_eq!(external_id(permit(&rules, with_role(None))).as_deref(), Some("ccr/payments"));
    assert_eq!(external_id(permit(&rules, with_role(Some("ccr/payments")))).as_deref(), Some("ccr/payments"));
    let refusal = permit(&rules, with_role(Some("ccr/orders"))).unwrap_err();
    assert_eq!(refusal.reason(), Reason::RoleNotAllowed);
    assert!(refusal.to_string().contains("externalId"), "{refusal}");
}

#[test]
fn a_pattern_matches_the_whole_text() {
    for (pattern, text) in
        [("a", "a"), ("*", ""), ("*", "abc"), ("a*", "abc"), ("*c", "abc"), ("a*c*", "abcd"), ("a*b*c", "aXbYc")]
    {
        assert!(fits(pattern, text), "{pattern} {text}");
    }
    for (pattern, text) in [("a", "ab"), ("", "a"), ("a*", "ba"), ("*c", "cb"), ("ab*b", "ab"), ("a*b*c", "acb")] {
        assert!(!fits(pattern, text), "{pattern} {text}");
    }
}

#[test]
fn an_error_in_the_file_is_reported_with_its_place() {
    for (text, expected) in [
        ("rules: [{namespaces: [a], role: x}]", "role"),
        ("rules: {a: b}", "parse"),
        ("", "the file is empty"),
        (" \n# rules: []\n", "the file is empty"),
        ("default: denied", "a map of grants, or the word deny"),
        ("default: {regoins: []}", "regoins"),
        ("rules: [{name: pay, regions: [us-east-1]}]", "pay: the rule selects no namespace"),
        ("rules: [{namespaces: [a], roles: [admin]}]", "rules[0]: roles must be ARNs"),
        ("rules: [{name: pay, namespaces: [a], externalId: 'x y'}]", "pay: externalId"),
        (
            "rules: [{name: pay, namespaceSelector: {matchExpressions: [{key: a, operator: Like}]}}]",
            "pay: namespaceSelector",
        ),
        ("default: {namespaces: [a]}", "default: it applies to the namespaces without a rule"),
    ] {
        let error = Rules::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}
