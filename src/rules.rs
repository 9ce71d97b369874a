//! The rules: which roles, regions, certificates and APIs each namespace may use, and whether it may own descriptions.
//! Without rules, every user who may create a resource can use all permissions of the operator.
//!
//! The rules come from a file (`--rules-file`). Each rule is a grant to some namespaces, and grants add up. A namespace
//! without a rule has the grant in `default`, or none if `default` is `deny`. Without a file, the default grant is the
//! operator's own credentials, every region, every certificate, descriptions, and no role.

mod file;

pub use file::InvalidRules;

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::core::{Selector, SelectorExt};
use thiserror::Error;

use crate::aws::gateway::{AssumedRole, Identity};
use crate::conditions::Reason;

/// The rules in force.
#[derive(Clone, Debug)]
pub struct Rules {
    /// `None` denies.
    default: Option<Grant>,
    rules: Vec<Rule>,
}

impl Default for Rules {
    fn default() -> Self {
        Rules { default: Some(Grant::default()), rules: Vec::new() }
    }
}

#[derive(Clone, Debug)]
struct Rule {
    name: String,
    namespaces: Vec<String>,
    selector: Option<Selector>,
    grant: Grant,
}

/// The permissions of a rule.
#[derive(Clone, Debug)]
struct Grant {
    own_credentials: bool,
    roles: Vec<String>,
    external_id: Option<String>,
    session_tags: bool,
    regions: Vec<String>,
    certificate_ids: Vec<String>,
    rest_api_ids: Vec<String>,
    acm_certificate_arns: Vec<String>,
    descriptions: bool,
}

impl Default for Grant {
    fn default() -> Self {
        let all = || vec!["*".to_owned()];
        Grant {
            own_credentials: true,
            roles: Vec::new(),
            external_id: None,
            session_tags: false,
            regions: all(),
            certificate_ids: all(),
            rest_api_ids: all(),
            acm_certificate_arns: all(),
            descriptions: true,
        }
    }
}

/// The request of a resource.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The namespace of the resource.
    pub namespace: &'a str,
    /// The labels of the namespace.
    pub labels: &'a BTreeMap<String, String>,
    /// The ARN of the role, and the external id, if the resource has one.
    pub role: Option<(&'a str, Option<&'a str>)>,
    pub region: &'a str,
    /// The certificate or API.
    pub what: What<'a>,
}

/// The certificate or API that a resource reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What<'a> {
    /// The certificate with this id.
    Certificate(&'a str),
    /// The stages of the API with this id, and the certificates that they present.
    RestApi(&'a str),
    /// The ACM certificate with this ARN.
    Acm(&'a str),
}

/// The permissions of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    /// The identity that reads the certificate.
    pub identity: Identity,
    /// Whether the resource may own the description, or the reason for which it may not.
    pub description: Result<(), Refusal>,
}

/// The permission that the rules lack.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Everything: no rule is for the namespace, and the default denies.
    #[error(
        "no rule is for namespace {namespace}, and the default is deny; add a rule for the namespace to the operator's rules file"
    )]
    Namespace {
        /// The namespace.
        namespace: String,
    },
    /// The role.
    #[error(
        "{rules} allows role {arn}; add the role to the roles of a rule for the namespace in the operator's rules file"
    )]
    Role {
        /// The rules for the namespace.
        rules: Rulebook,
        /// The role.
        arn: String,
    },
    /// The external id.
    #[error(
        "{rules} allows role {arn} with this externalId; remove spec.assumeRole.externalId, which the operator sets"
    )]
    ExternalId {
        /// The rules for the namespace.
        rules: Rulebook,
        /// The role.
        arn: String,
    },
    /// The operator's own credentials.
    #[error(
        "{rules} allows the operator's own credentials; set spec.assumeRole, or set ownCredentials in a rule for the namespace in the operator's rules file"
    )]
    OwnCredentials {
        /// The rules for the namespace.
        rules: Rulebook,
    },
    #[error(
        "{rules} allows region {region}; add the region to the regions of a rule for the namespace in the operator's rules file"
    )]
    Region {
        /// The rules for the namespace.
        rules: Rulebook,
        region: String,
    },
    /// The certificate.
    #[error(
        "{rules} allows certificate {id}; add the id to the certificateIds of a rule for the namespace in the operator's rules file"
    )]
    Certificate {
        /// The rules for the namespace.
        rules: Rulebook,
        id: String,
    },
    /// The API.
    #[error(
        "{rules} allows REST API {id}; add the id to the restApiIds of a rule for the namespace in the operator's rules file"
    )]
    RestApi {
        /// The rules for the namespace.
        rules: Rulebook,
        id: String,
    },
    /// The certificate of ACM.
    #[error(
        "{rules} allows ACM certificate {arn}; add the ARN to the acmCertificateArns of a rule for the namespace in the operator's rules file"
    )]
    Acm {
        /// The rules for the namespace.
        rules: Rulebook,
        /// The ARN.
        arn: String,
    },
    /// The description.
    #[error(
        "{rules} allows managing descriptions; set descriptions in a rule for the namespace in the operator's rules file"
    )]
    Description {
        /// The rules for the namespace.
        rules: Rulebook,
    },
}

/// The rules for a namespace, as the subject of a message: `no rule for namespace a (b) allows …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rulebook {
    namespace: String,
    names: Vec<String>,
}

impl std::fmt::Display for Rulebook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.names.as_slice() {
            [] => write!(f, "neither a rule for namespace {} nor the default", self.namespace),
            names => write!(f, "no rule for namespace {} ({})", self.namespace, names.join(", ")),
        }
    }
}

impl Refusal {
    /// The reason for a condition.
    pub fn reason(&self) -> Reason {
        match self {
            Refusal::Namespace { .. }
            | Refusal::Role { .. }
            | Refusal::ExternalId { .. }
            | Refusal::OwnCredentials { .. } => Reason::RoleNotAllowed,
            Refusal::Region { .. } => Reason::RegionNotAllowed,
            Refusal::Certificate { .. } | Refusal::RestApi { .. } | Refusal::Acm { .. } => {
                Reason::CertificateNotAllowed
            }
            Refusal::Description { .. } => Reason::DescriptionNotAllowed,
        }
    }
}

impl Rules {
    /// Whether a rule allows a role to a namespace.
    pub fn allow_roles(&self) -> bool {
        self.rules.iter().map(|rule| &rule.grant).chain(&self.default).any(|grant| !grant.roles.is_empty())
    }

    /// Whether a rule selects namespaces by label.
    pub fn use_labels(&self) -> bool {
        self.rules.iter().any(|rule| rule.selector.is_some())
    }

    /// The positions of the rules that select a namespace with these labels.
    pub fn selected_by(&self, labels: &BTreeMap<String, String>) -> Vec<usize> {
        let selects = |rule: &Rule| rule.selector.as_ref().is_some_and(|selector| selector.matches(labels));
        self.rules.iter().enumerate().filter(|(_, rule)| selects(rule)).map(|(position, _)| position).collect()
    }

    /// The permissions of a resource, or the permission that the rules lack.
    pub fn permit(&self, wanted: Wanted<'_>) -> Result<Permit, Refusal> {
        let applying: Vec<&Rule> = self.rules.iter().filter(|rule| rule.applies_to(&wanted)).collect();
        let rules = || Rulebook {
            namespace: wanted.namespace.to_owned(),
            names: applying.iter().map(|rule| rule.name.clone()).collect(),
        };
        let mut grants: Vec<&Grant> = match applying.as_slice() {
            [] => self.default.iter().collect(),
            applying => applying.iter().map(|rule| &rule.grant).collect(),
        };
        if grants.is_empty() {
            return Err(Refusal::Namespace { namespace: wanted.namespace.to_owned() });
        }
        match wanted.role {
            Some((arn, external_id)) => {
                let arn = || arn.to_owned();
                grants.retain(|grant| grant.allows_role(&arn(), wanted.namespace));
                if grants.is_empty() {
                    return Err(Refusal::Role { rules: rules(), arn: arn() });
                }
                grants.retain(|grant| {
                    let forced = grant.forced_external_id(wanted.namespace);
                    forced.is_none() || external_id.is_none() || forced.as_deref() == external_id
                });
                if grants.is_empty() {
                    return Err(Refusal::ExternalId { rules: rules(), arn: arn() });
                }
            }
            None => {
                grants.retain(|grant| grant.own_credentials);
                if grants.is_empty() {
                    return Err(Refusal::OwnCredentials { rules: rules() });
                }
            }
        }
        grants.retain(|grant| grant.regions.iter().any(|pattern| fits(pattern, wanted.region)));
        if grants.is_empty() {
            return Err(Refusal::Region { rules: rules(), region: wanted.region.to_owned() });
        }
        let (of, id): (fn(&Grant) -> &Vec<String>, &str) = match wanted.what {
            What::Certificate(id) => (|grant| &grant.certificate_ids, id),
            What::RestApi(id) => (|grant| &grant.rest_api_ids, id),
            What::Acm(arn) => (|grant| &grant.acm_certificate_arns, arn),
        };
        grants.retain(|grant| of(grant).iter().any(|pattern| fits(pattern, id)));
        let Some(first) = grants.first() else {
            let (rules, id) = (rules(), id.to_owned());
            return Err(match wanted.what {
                What::Certificate(_) => Refusal::Certificate { rules, id },
                What::RestApi(_) => Refusal::RestApi { rules, id },
                What::Acm(_) => Refusal::Acm { rules, arn: id },
            });
        };
        let description = match grants.iter().any(|grant| grant.descriptions) {
            true => Ok(()),
            false => Err(Refusal::Description { rules: rules() }),
        };
        Ok(Permit { identity: first.identity(&wanted), description })
    }
}

impl Rule {
    fn applies_to(&self, wanted: &Wanted<'_>) -> bool {
        self.namespaces.iter().any(|name| name == wanted.namespace)
            || self.selector.as_ref().is_some_and(|selector| selector.matches(wanted.labels))
    }
}

impl Grant {
    fn allows_role(&self, arn: &str, namespace: &str) -> bool {
        self.roles.iter().any(|pattern| fits(&for_namespace(pattern, namespace), arn))
    }

    fn forced_external_id(&self, namespace: &str) -> Option<String> {
        self.external_id.as_ref().map(|id| for_namespace(id, namespace))
    }

    fn identity(&self, wanted: &Wanted<'_>) -> Identity {
        match wanted.role {
            None => Identity::Operator,
            Some((arn, external_id)) => Identity::Role(Arc::new(AssumedRole {
                arn: arn.to_owned(),
                external_id: self.forced_external_id(wanted.namespace).or(external_id.map(str::to_owned)),
                namespace: wanted.namespace.to_owned(),
                tags_session: self.session_tags,
            })),
        }
    }
}

/// Replaces `{namespace}` in a role or external id with the resource's namespace.
fn for_namespace(text: &str, namespace: &str) -> String {
    text.replace("{namespace}", namespace)
}

/// Whether a text matches a pattern, in which `*` matches any text.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests;
