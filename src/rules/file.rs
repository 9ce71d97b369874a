//! The rules file: YAML in, checked [`Rules`] out. An error names its rule.

use std::fmt::Formatter;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Selector;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use thiserror::Error;

use super::{Grant, Rule, Rules};

/// The reason for which a text is not a valid rules file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidRules {
    /// The file is empty, for example because another process is writing it.
    #[error("the file is empty; add rules or a default")]
    Empty,
    /// The file is not YAML of the right structure.
    #[error("the file does not parse: {0}")]
    NotParsed(String),
    /// A rule is invalid.
    #[error("{rule}: {problem}")]
    Senseless {
        /// The name of the rule.
        rule: String,
        /// The fault of the rule.
        problem: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    default: Option<Otherwise>,
    #[serde(default)]
    rules: Vec<Entry>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Entry {
    name: Option<String>,
    namespaces: Vec<String>,
    namespace_selector: Option<LabelSelector>,
    own_credentials: Option<bool>,
    roles: Vec<String>,
    external_id: Option<String>,
    session_tags: bool,
    regions: Option<Vec<String>>,
    certificate_ids: Option<Vec<String>>,
    rest_api_ids: Option<Vec<String>>,
    acm_certificate_arns: Option<Vec<String>>,
    descriptions: Option<bool>,
}

/// The grant of namespaces without a rule.
enum Otherwise {
    Deny,
    Grant(Box<Entry>),
}

impl<'de> Deserialize<'de> for Otherwise {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OtherwiseVisitor)
    }
}

/// Written by hand, because serde's error for an untagged enum does not name the field of the map.
struct OtherwiseVisitor;

impl<'de> Visitor<'de> for OtherwiseVisitor {
    type Value = Otherwise;

    fn expecting(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("a map of grants, or the word deny")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Otherwise, E> {
        match word {
            "deny" => Ok(Otherwise::Deny),
            other => Err(E::invalid_value(Unexpected::Str(other), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Otherwise, A::Error> {
        Entry::deserialize(MapAccessDeserializer::new(map)).map(|entry| Otherwise::Grant(Box::new(entry)))
    }
}

impl Rules {
    /// Reads the rules file.
    pub fn parse(text: &str) -> Result<Self, InvalidRules> {
        let not_parsed = |error: serde_saphyr::Error| InvalidRules::NotParsed(first_line(&error.to_string()));
        let file: Option<File> = serde_saphyr::from_str(text).map_err(not_parsed)?;
        let file = file.ok_or(InvalidRules::Empty)?;
        let default = match file.default {
            None => Some(Grant::default()),
            Some(Otherwise::Deny) => None,
            Some(Otherwise::Grant(entry)) => Some(default(*entry)?),
        };
        let rules =
            file.rules.into_iter().enumerate().map(|(index, entry)| rule(index, entry)).collect::<Result<_, _>>()?;
        Ok(Rules { default, rules })
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn default(entry: Entry) -> Result<Grant, InvalidRules> {
    if entry.name.is_some() || !entry.namespaces.is_empty() || entry.namespace_selector.is_some() {
        return Err(senseless(
            "default",
            "it applies to the namespaces without a rule; remove namespaces and namespaceSelector",
        ));
    }
    grant("default", entry)
}

fn rule(index: usize, mut entry: Entry) -> Result<Rule, InvalidRules> {
    let name = entry.name.take().unwrap_or_else(|| format!("rules[{index}]"));
    let namespaces = std::mem::take(&mut entry.namespaces);
    let selector = entry.namespace_selector.take().map(Selector::try_from).transpose();
    let selector = selector.map_err(|error| senseless(&name, &format!("namespaceSelector: {error}")))?;
    if namespaces.is_empty() && selector.is_none() {
        return Err(senseless(
            &name,
            "the rule selects no namespace; set namespaces or namespaceSelector ({} selects all)",
        ));
    }
    let grant = grant(&name, entry)?;
    Ok(Rule { name, namespaces, selector, grant })
}

fn grant(name: &str, entry: Entry) -> Result<Grant, InvalidRules> {
    if let Some(role) = entry.roles.iter().find(|role| !role.starts_with("arn:") || !role.contains(":role/")) {
        let problem =
            format!("roles must be ARNs of roles, for example arn:aws:iam::111122223333:role/certificates, not {role}");
        return Err(senseless(name, &problem));
    }
    if entry.external_id.as_ref().is_some_and(|id| !is_external_id(&id.replace("{namespace}", "ns"))) {
        let problem = "externalId must have 2 to 1224 letters, digits and any of _+=,.@:/- (and {namespace})";
        return Err(senseless(name, problem));
    }
    let otherwise = Grant::default();
    // A rule that allows only some certificate ids allows no API and no ACM certificate unless it names them: a stage
    // can present any certificate.
    let none_beside = || entry.certificate_ids.as_ref().map(|_| Vec::new());
    let rest_api_ids = entry.rest_api_ids.or_else(none_beside);
    let acm_certificate_arns = entry.acm_certificate_arns.or_else(none_beside);
    Ok(Grant {
        own_credentials: entry.own_credentials.unwrap_or(otherwise.own_credentials),
        roles: entry.roles,
        external_id: entry.external_id,
        session_tags: entry.session_tags,
        regions: entry.regions.unwrap_or(otherwise.regions),
        certificate_ids: entry.certificate_ids.unwrap_or(otherwise.certificate_ids),
        rest_api_ids: rest_api_ids.unwrap_or(otherwise.rest_api_ids),
        acm_certificate_arns: acm_certificate_arns.unwrap_or(otherwise.acm_certificate_arns),
        descriptions: entry.descriptions.unwrap_or(otherwise.descriptions),
    })
}

fn is_external_id(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@:/-".contains(c);
    (2..=1224).contains(&text.len()) && text.chars().all(is_allowed)
}

fn senseless(rule: &str, problem: &str) -> InvalidRules {
    InvalidRules::Senseless { rule: rule.to_owned(), problem: problem.to_owned() }
}
