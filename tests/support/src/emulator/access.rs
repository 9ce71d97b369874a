//! Callers and their permissions: the access keys of the home account, the sessions of roles, and denials.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::Emulator;
use super::answer::Refusal;
use super::roles::{self, NewRole, Session};
use super::sigv4::{self, AccessKey, Flaw, Signed};
use crate::script::{Operation, Service};

/// The account of the emulator's access keys.
pub const HOME_ACCOUNT: &str = "111122223333";
/// The user of the emulator's access keys.
pub const HOME_USER: &str = "arn:aws:iam::111122223333:user/home";
const HOME_USER_ID: &str = "AIDAHOMEHOMEHOMEHOME0";

impl Emulator {
    /// Denies an operation to [`HOME_USER`] or a role, by ARN.
    pub fn deny(&self, principal: &str, operation: Operation) {
        self.state.lock().access.denied.insert((principal.to_owned(), operation, None));
    }

    /// Denies an operation on one resource, by ARN.
    pub fn deny_on(&self, principal: &str, operation: Operation, resource: &str) {
        self.state.lock().access.denied.insert((principal.to_owned(), operation, Some(resource.to_owned())));
    }

    /// Replaces the access keys of the home account by a new one. The emulator refuses the former keys from now on.
    pub fn rotate_access_key(&self) -> AccessKey {
        let key = roles::new_key("AKIA", None);
        self.state.lock().access.rotated = Some(key.clone());
        key
    }

    /// Ends the denials of an operation; returns whether there was one.
    pub fn allow(&self, principal: &str, operation: Operation) -> bool {
        self.state.lock().access.allow(principal, operation)
    }
}

/// The roles, their sessions, and the denials.
#[derive(Default)]
pub(super) struct Access {
    pub(super) roles: BTreeMap<String, NewRole>,
    pub(super) sessions: Vec<Session>,
    /// The principal, the operation, and the resource; without a resource, all resources.
    pub(super) denied: BTreeSet<(String, Operation, Option<String>)>,
    /// The home account's only key after a rotation.
    rotated: Option<AccessKey>,
}

/// The caller that signed a request.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub account: String,
    pub arn: String,
    pub user_id: String,
    /// The user or the role that has the permissions.
    pub principal: String,
    /// Whether the caller is a session.
    pub assumed: bool,
}

impl Access {
    /// The account of an access key.
    pub(super) fn account_of(&self, home: &[AccessKey], key_id: &str) -> Option<String> {
        if self.home_keys(home).iter().any(|key| key.id == key_id) {
            return Some(HOME_ACCOUNT.to_owned());
        }
        self.session(key_id).map(|session| session.account.clone())
    }

    fn home_keys<'a>(&'a self, first: &'a [AccessKey]) -> &'a [AccessKey] {
        self.rotated.as_ref().map_or(first, std::slice::from_ref)
    }

    fn session(&self, key_id: &str) -> Option<&Session> {
        self.sessions.iter().rev().find(|session| session.access_key.id == key_id)
    }

    /// The caller that signed this request, if the signature is valid.
    pub(super) fn authenticate(
        &self,
        home: &[AccessKey],
        service: Service,
        request: &Signed<'_>,
        now: Timestamp,
    ) -> Result<Caller, Refusal> {
        let key_id = sigv4::claimed(request.headers).map(|(key_id, _)| key_id).unwrap_or_default();
        let session = self.session(&key_id);
        let home = self.home_keys(home).iter().find(|key| key.id == key_id);
        let key = home.or(session.map(|session| &session.access_key));
        sigv4::verify(request, service, key, now)?;
        let Some(session) = session else {
            return Ok(Caller {
                account: HOME_ACCOUNT.to_owned(),
                arn: HOME_USER.to_owned(),
                user_id: HOME_USER_ID.to_owned(),
                principal: HOME_USER.to_owned(),
                assumed: false,
            });
        };
        if session.expires <= now {
            return Err(Flaw::Expired.refusal(service, "The security token included in the request is expired"));
        }
        Ok(Caller {
            account: session.account.clone(),
            arn: session.arn.clone(),
            user_id: session.user_id.clone(),
            principal: session.request.role.clone(),
            assumed: true,
        })
    }

    pub(super) fn allow(&mut self, principal: &str, operation: Operation) -> bool {
        let before = self.denied.len();
        self.denied.retain(|(denied, what, _)| (denied.as_str(), *what) != (principal, operation));
        self.denied.len() < before
    }

    pub(super) fn denies(&self, principal: &str, operation: Operation, resource: &str) -> bool {
        let is_on = |on: &Option<String>| on.as_deref().is_none_or(|on| on == resource);
        self.denied.iter().any(|(denied, what, on)| (denied.as_str(), *what) == (principal, operation) && is_on(on))
    }

    /// Checks whether the caller may perform an operation on a resource.
    pub(super) fn check(
        &self,
        caller: &Caller,
        operation: Operation,
        action: &str,
        resource: &str,
    ) -> Result<(), Refusal> {
        if !self.denies(&caller.principal, operation, resource) {
            return Ok(());
        }
        let status = if operation.service() == Service::Acm { 400 } else { 403 };
        Err(Refusal::new(status, "AccessDeniedException", not_authorized(caller, action, resource)))
    }
}

/// AWS's text of a denial.
pub(super) fn not_authorized(caller: &Caller, action: &str, resource: &str) -> String {
    format!("User: {} is not authorized to perform: {action} on resource: {resource}", caller.arn)
}
