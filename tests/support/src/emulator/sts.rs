//! The operations of STS for roles in other accounts: the query protocol, with forms as requests and XML as responses.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::access::Caller;
use super::answer::{Refusal, escape, result_body};
use super::roles::{AssumeRole, Session, is_role};
use super::state::State;
use crate::script::Operation;

const VERSION: &str = "2011-06-15";

/// The form of a request.
pub(super) struct Form(BTreeMap<String, String>);

impl Form {
    pub(super) fn parse(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn operation(&self) -> Result<Operation, Refusal> {
        let (action, version) = (self.field("Action"), self.field("Version").unwrap_or_default());
        match action {
            None => Err(Refusal::new(400, "MissingAction", "The request must contain the parameter Action")),
            Some("AssumeRole") if version == VERSION => Ok(Operation::AssumeRole),
            Some("GetCallerIdentity") if version == VERSION => Ok(Operation::GetCallerIdentity),
            Some(action) => {
                let message = format!("Could not find operation {action} for version {version}");
                Err(Refusal::new(400, "InvalidAction", message))
            }
        }
    }

    /// The parameters of an AssumeRole, unchecked.
    pub(super) fn assume_role(&self) -> AssumeRole {
        let text = |name: &str| self.field(name).map(str::to_owned);
        let tag = |number: usize| {
            let key = text(&format!("Tags.member.{number}.Key"))?;
            Some((key, text(&format!("Tags.member.{number}.Value")).unwrap_or_default()))
        };
        AssumeRole {
            role: text("RoleArn").unwrap_or_default(),
            session_name: text("RoleSessionName").unwrap_or_default(),
            external_id: text("ExternalId"),
            // An invalid number becomes 0, which is refused later.
            duration_seconds: self.field("DurationSeconds").map(|seconds| seconds.parse().unwrap_or(0)),
            tags: (1..).map_while(tag).collect(),
        }
    }
}

/// Performs an operation; returns the body.
pub(super) fn perform(state: &Arc<State>, caller: &Caller, asked: Option<AssumeRole>) -> Result<String, Refusal> {
    let Some(asked) = asked else { return Ok(identity(caller)) };
    check(&asked)?;
    state.lock().access.assume(caller, asked).map(|session| credentials(&session))
}

fn identity(Caller { account, arn, user_id, .. }: &Caller) -> String {
    let (arn, user_id) = (escape(arn), escape(user_id));
    let result = format!("<Arn>{arn}</Arn><UserId>{user_id}</UserId><Account>{account}</Account>");
    result_body("GetCallerIdentity", &result)
}

fn credentials(session: &Session) -> String {
    let (key, token) = (&session.access_key, session.access_key.session_token.as_deref().unwrap_or_default());
    let expiration = session.expires.strftime("%Y-%m-%dT%H:%M:%SZ");
    let credentials = format!(
        "<Credentials><AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey>\
         <SessionToken>{token}</SessionToken><Expiration>{expiration}</Expiration></Credentials>",
        key.id, key.secret,
    );
    let (id, arn) = (escape(&session.user_id), escape(&session.arn));
    let user = format!("<AssumedRoleUser><AssumedRoleId>{id}</AssumedRoleId><Arn>{arn}</Arn></AssumedRoleUser>");
    result_body("AssumeRole", &format!("{credentials}{user}"))
}

/// The checks that AWS makes before those of permissions.
fn check(asked: &AssumeRole) -> Result<(), Refusal> {
    let invalid = |message: String| Err(Refusal::new(400, "ValidationError", message));
    let constraint = |value: &str, name: &str, must: &str| {
        invalid(format!(
            "1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint: Member must {must}"
        ))
    };
    let within = |text: &str, least: usize, most: usize, more: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c) || more.contains(c);
        (least..=most).contains(&text.len()) && text.chars().all(allowed)
    };
    if !is_role(&asked.role) {
        return invalid(format!("{} is invalid", asked.role));
    }
    if !within(&asked.session_name, 2, 64, "") {
        return constraint(
            &asked.session_name,
            "roleSessionName",
            "satisfy regular expression pattern: [\\w+=,.@-]{2,64}",
        );
    }
    if let Some(id) = asked.external_id.as_deref().filter(|id| !within(id, 2, 1224, ":/")) {
        return constraint(id, "externalId", "satisfy regular expression pattern: [\\w+=,.@:\\/-]{2,1224}");
    }
    if let Some(seconds) = asked.duration_seconds.filter(|seconds| !(900..=43200).contains(seconds)) {
        let must = "have a value between 900 and 43200";
        return constraint(&seconds.to_string(), "durationSeconds", must);
    }
    let size = |text: &str| text.chars().count();
    let fits = |(key, value): (&String, &String)| (1..=128).contains(&size(key)) && size(value) <= 256;
    if asked.tags.len() > 50 || !asked.tags.iter().all(fits) {
        return constraint("Tags", "tags", "be at most 50 pairs of at most 128 and 256 characters");
    }
    Ok(())
}
