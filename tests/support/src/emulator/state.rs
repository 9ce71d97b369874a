//! What the emulator knows: certificates and REST APIs by account and region, who may do what, the script of faults, the calls.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::access::Access;
use super::acm::Acm;
use super::faults::FaultKind;
use super::limit::Limits;
use super::log::{Call, Peaks};
use super::sigv4::AccessKey;
use super::stages::Api;
use crate::certificates::{Issued, NewCertificate, issue};
use crate::script::Script;

/// Where a certificate or a REST API is: ids are unique in an account and region.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Location {
    pub account: String,
    pub region: String,
    pub id: String,
}

impl Location {
    /// What lies in the same account and region, by id, in order.
    pub(super) fn siblings<'a, T>(&self, all: &'a BTreeMap<Location, T>) -> impl Iterator<Item = (&'a str, &'a T)> {
        let here = all.iter().filter(|(at, _)| at.account == self.account && at.region == self.region);
        here.map(|(at, value)| (at.id.as_str(), value))
    }
}

pub(super) struct State {
    pub(super) keys: Vec<AccessKey>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
pub(super) struct Inner {
    /// Ordered, so that pages of a list are stable.
    pub(super) certificates: BTreeMap<Location, Issued>,
    /// Deleted ones, for restoring.
    pub(super) deleted: BTreeMap<Location, Issued>,
    pub(super) apis: BTreeMap<Location, Api>,
    pub(super) acm: Acm,
    pub(super) script: Script<FaultKind>,
    pub(super) latency: Duration,
    pub(super) calls: Vec<Call>,
    pub(super) peaks: Peaks,
    pub(super) access: Access,
    pub(super) limits: Limits,
}

impl State {
    pub(super) fn new(keys: Vec<AccessKey>) -> Arc<Self> {
        Arc::new(Self { keys, inner: Mutex::default() })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a certificate. The lock is not held meanwhile: a key takes a while.
    pub(super) fn generate(&self, account: &str, region: &str, new: NewCertificate) -> Issued {
        let issued = issue(new);
        let (account, region, id) = (account.to_owned(), region.to_owned(), issued.certificate.id.clone());
        self.lock().certificates.insert(Location { account, region, id }, issued.clone());
        issued
    }

    /// Puts a new certificate under an old one's id, with the old description and tags unless the new has its own.
    pub(super) fn replace(&self, location: &Location, mut new: NewCertificate) -> Option<Issued> {
        let old = self.lock().certificates.get(location)?.certificate.clone();
        new.id = Some(old.id);
        if new.description.is_empty() {
            new.description = old.description;
        }
        if new.tags.is_empty() {
            new.tags = old.tags;
        }
        Some(self.generate(&location.account, &location.region, new))
    }

    /// Changes a certificate in place; returns whether it exists.
    pub(super) fn change(&self, location: &Location, change: impl FnOnce(&mut Issued)) -> bool {
        self.lock().certificates.get_mut(location).map(change).is_some()
    }

    pub(super) fn delete(&self, location: &Location) -> bool {
        let mut inner = self.lock();
        let Some(issued) = inner.certificates.remove(location) else { return false };
        inner.deleted.insert(location.clone(), issued);
        true
    }

    pub(super) fn restore(&self, location: &Location) -> bool {
        let mut inner = self.lock();
        let Some(issued) = inner.deleted.remove(location) else { return false };
        inner.certificates.insert(location.clone(), issued);
        true
    }
}
