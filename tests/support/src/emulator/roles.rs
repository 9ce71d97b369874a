//! Roles in any account, and their sessions.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::Emulator;
use super::access::{Access, Caller, HOME_ACCOUNT, not_authorized};
use super::answer::Refusal;
use super::sigv4::AccessKey;
use crate::script::Operation;

const AN_HOUR: u64 = 3600;

/// A new role.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NewRole {
    /// The ARN, for example `arn:aws:iam::444455556666:role/reader`. It determines the account of the sessions.
    pub arn: String,
    /// The required external id; without it, any external id or none is accepted.
    #[serde(default)]
    pub external_id: Option<String>,
    /// The longest duration of a session. A value below an hour, AWS's least maximum, shortens sessions without an
    /// error, so that tests do not have to wait.
    #[serde(default = "an_hour")]
    pub session_seconds: u64,
    /// Whether sessions may have tags.
    #[serde(default)]
    pub may_tag: bool,
    /// The principals that may assume the role: ARNs of users and roles, or `arn:aws:iam::<account>:root` for all
    /// principals of an account.
    #[serde(default = "every_account_at_home")]
    pub allows: Vec<String>,
}

fn an_hour() -> u64 {
    AN_HOUR
}

fn every_account_at_home() -> Vec<String> {
    vec![format!("arn:aws:iam::{HOME_ACCOUNT}:root")]
}

impl NewRole {
    /// A role that every principal of the home account may assume for an hour, without an external id and without tags.
    pub fn new(arn: impl Into<String>) -> Self {
        Self {
            arn: arn.into(),
            external_id: None,
            session_seconds: AN_HOUR,
            may_tag: false,
            allows: every_account_at_home(),
        }
    }

    /// Requires this external id.
    pub fn external_id(mut self, id: impl Into<String>) -> Self {
        self.external_id = Some(id.into());
        self
    }

    /// Limits the duration of sessions.
    pub fn session_seconds(mut self, seconds: u64) -> Self {
        self.session_seconds = seconds;
        self
    }

    /// Allows tags of sessions.
    pub fn may_tag(mut self) -> Self {
        self.may_tag = true;
        self
    }

    /// Allows only this principal to assume the role.
    pub fn allows_only(mut self, principal: impl Into<String>) -> Self {
        self.allows = vec![principal.into()];
        self
    }

    fn trusts(&self, caller: &Caller) -> bool {
        let root = format!(":iam::{}:root", caller.account);
        self.allows.iter().any(|allowed| *allowed == caller.principal || allowed.ends_with(&root))
    }
}

/// The parameters of an AssumeRole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AssumeRole {
    /// The role's ARN.
    pub role: String,
    /// `RoleSessionName`
    pub session_name: String,
    /// `ExternalId`
    pub external_id: Option<String>,
    /// `DurationSeconds`
    pub duration_seconds: Option<u64>,
    /// `Tags`
    pub tags: BTreeMap<String, String>,
}

/// An assumed role.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// The parameters of the request.
    pub request: AssumeRole,
    /// The ARN of the caller.
    pub by: String,
    /// The account of the session.
    pub account: String,
    /// The session's own ARN.
    pub arn: String,
    /// The end of the session.
    pub expires: Timestamp,
    /// The access key of the session.
    #[serde(skip)]
    pub access_key: AccessKey,
    #[serde(skip)]
    pub(super) user_id: String,
}

impl Emulator {
    /// Makes or replaces a role.
    pub fn add_role(&self, role: NewRole) {
        assert!(is_role(&role.arn), "not a role's ARN: {}", role.arn);
        self.state.lock().access.roles.insert(role.arn.clone(), role);
    }

    /// Deletes a role; returns whether it existed. Its sessions stay valid.
    pub fn remove_role(&self, arn: &str) -> bool {
        self.state.lock().access.roles.remove(arn).is_some()
    }

    /// Ends the live sessions of a role; returns their number.
    pub fn expire_sessions(&self, role: &str) -> usize {
        self.state.lock().access.expire_sessions(role)
    }

    /// Every session since the start, in the order in which they began.
    pub fn sessions(&self) -> Vec<Session> {
        self.state.lock().access.sessions.clone()
    }
}

impl Access {
    pub(super) fn expire_sessions(&mut self, role: &str) -> usize {
        let now = Timestamp::now();
        let live = |session: &&mut Session| session.request.role == role && session.expires > now;
        self.sessions.iter_mut().filter(live).map(|session| session.expires = now).count()
    }

    /// Begins a session. A missing role gives the same error as a role that does not trust the caller.
    pub(super) fn assume(&mut self, caller: &Caller, asked: AssumeRole) -> Result<Session, Refusal> {
        let denied = |action| Refusal::new(403, "AccessDenied", not_authorized(caller, action, &asked.role));
        let role = self
            .roles
            .get(&asked.role)
            .filter(|role| role.trusts(caller))
            .filter(|role| role.external_id.is_none() || role.external_id == asked.external_id)
            .filter(|_| !self.denies(&caller.principal, Operation::AssumeRole, &asked.role))
            .ok_or_else(|| denied("sts:AssumeRole"))?;
        if !asked.tags.is_empty() && !role.may_tag {
            return Err(denied("sts:TagSession"));
        }
        let seconds = asked.duration_seconds.unwrap_or(AN_HOUR);
        let invalid = |why: &str| {
            Err(Refusal::new(400, "ValidationError", format!("The requested DurationSeconds exceeds the {why}.")))
        };
        if seconds > role.session_seconds.max(AN_HOUR) {
            return invalid("MaxSessionDuration set for this role");
        }
        if caller.assumed && seconds > AN_HOUR {
            return invalid("1 hour session limit for roles assumed by role chaining");
        }
        let lasts = SignedDuration::from_secs(seconds.min(role.session_seconds) as i64);
        let parts = parse_arn(&asked.role).unwrap();
        let role_name = parts.resource.rsplit('/').next().unwrap_or_default();
        let session = Session {
            by: caller.arn.clone(),
            account: parts.account.to_owned(),
            arn: format!(
                "arn:{}:sts::{}:assumed-role/{role_name}/{}",
                parts.partition, parts.account, asked.session_name
            ),
            expires: Timestamp::now() + lasts,
            access_key: new_key("ASIA", Some(random(120))),
            user_id: format!("AROA{}:{}", random(17), asked.session_name),
            request: asked,
        };
        self.sessions.push(session.clone());
        Ok(session)
    }
}

pub(super) fn new_key(prefix: &str, session_token: Option<String>) -> AccessKey {
    AccessKey { id: format!("{prefix}{}", random(16)), secret: random(40), session_token }
}

fn random(length: usize) -> String {
    std::iter::repeat_with(|| char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[fastrand::usize(..32)]))
        .take(length)
        .collect()
}

/// The parts of an IAM ARN, which has no region.
pub(super) struct Arn<'a> {
    pub partition: &'a str,
    pub account: &'a str,
    pub resource: &'a str,
}

pub(super) fn parse_arn(arn: &str) -> Option<Arn<'_>> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, "iam", "", account, resource] = parts[..] else { return None };
    let digits = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    digits.then_some(Arn { partition, account, resource })
}

pub(super) fn is_role(arn: &str) -> bool {
    parse_arn(arn).is_some_and(|parts| parts.resource.starts_with("role/") && !parts.resource.ends_with('/'))
}
