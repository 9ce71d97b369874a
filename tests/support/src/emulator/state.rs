//! The state of the emulator: certificates and REST APIs by account and region, permissions, the script of faults, the
//! log of calls.

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

/// The location of a certificate or a REST API. Ids are unique in an account and region.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Location {
    pub account: String,
    pub region: String,
    pub id: String,
}

impl Location {
    /// The items of the same account and region, in the order of their ids.
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
    /// The map is ordered, so that the pages of a list are stable.
    pub(super) certificates: BTreeMap<Location, Issued>,
    /// Deleted certificates, which can be restored.
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

    /// Makes a certificate. It does so without the lock, because a key takes a while.
    pub(super) fn generate(&self, account: &str, region: &str, new: NewCertificate) -> Issued {
        let issued = issue(new);
        let (account, region, id) = (account.to_owned(), region.to_owned(), issued.certificate.id.clone());
        self.lock().certificates.insert(Location { account, region, id }, issued.clone());
        issued
    }

    /// Replaces a certificate under its id. The description and the tags stay unless `new` has others.
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
