//! What the emulator knows: certificates by region, the script of faults, and the calls that came.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use client_certificate_operator::gateway::Source;
use jiff::Timestamp;
use serde::Serialize;

use super::faults::FaultKind;
use super::sigv4::AccessKey;
use crate::certificates::{Issued, NewCertificate, issue};
use crate::script::{Operation, Script};

/// One call that came in, whatever became of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// When it came.
    pub at: Timestamp,
    /// The operation.
    pub operation: Operation,
    /// The region that it was signed for.
    pub region: Option<String>,
    /// The certificate that it names.
    pub id: Option<String>,
    /// The status of the answer; none while the call is under way, and where no answer was given.
    pub status: Option<u16>,
    #[serde(skip)]
    number: u64,
}

pub(super) struct State {
    pub(super) keys: Vec<AccessKey>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
pub(super) struct Inner {
    /// Ordered, so that pages of a list are stable.
    pub(super) certificates: BTreeMap<Source, Issued>,
    /// Deleted ones, for restoring.
    pub(super) deleted: BTreeMap<Source, Issued>,
    pub(super) script: Script<FaultKind>,
    pub(super) latency: Duration,
    pub(super) calls: Vec<Call>,
    pub(super) peak: usize,
    pub(super) peak_of_one: usize,
    under_way: usize,
    under_way_of: BTreeMap<String, usize>,
    next_number: u64,
}

impl State {
    pub(super) fn new(keys: Vec<AccessKey>) -> Arc<Self> {
        Arc::new(Self { keys, inner: Mutex::default() })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a certificate. The lock is not held meanwhile: a key takes a while.
    pub(super) fn generate(&self, region: &str, new: NewCertificate) -> Issued {
        let issued = issue(new);
        let source = Source { region: region.to_owned(), id: issued.certificate.id.clone() };
        self.lock().certificates.insert(source, issued.clone());
        issued
    }

    /// Puts a new certificate under an old one's id, with the old description and tags unless the new has its own.
    pub(super) fn replace(&self, source: &Source, mut new: NewCertificate) -> Option<Issued> {
        let old = self.lock().certificates.get(source)?.certificate.clone();
        new.id = Some(old.id);
        if new.description.is_empty() {
            new.description = old.description;
        }
        if new.tags.is_empty() {
            new.tags = old.tags;
        }
        Some(self.generate(&source.region, new))
    }

    /// Changes a certificate in place; answers whether it is there.
    pub(super) fn change(&self, source: &Source, change: impl FnOnce(&mut Issued)) -> bool {
        self.lock().certificates.get_mut(source).map(change).is_some()
    }

    pub(super) fn delete(&self, source: &Source) -> bool {
        let mut inner = self.lock();
        let Some(issued) = inner.certificates.remove(source) else { return false };
        inner.deleted.insert(source.clone(), issued);
        true
    }

    pub(super) fn restore(&self, source: &Source) -> bool {
        let mut inner = self.lock();
        let Some(issued) = inner.deleted.remove(source) else { return false };
        inner.certificates.insert(source.clone(), issued);
        true
    }

    /// Notes a call; it is under way until the answer is dropped.
    pub(super) fn arrived(
        self: &Arc<Self>,
        operation: Operation,
        region: Option<String>,
        id: Option<String>,
    ) -> UnderWay {
        let mut inner = self.lock();
        let number = inner.next_number;
        inner.next_number += 1;
        inner.under_way += 1;
        inner.peak = inner.peak.max(inner.under_way);
        if let Some(id) = &id {
            let of_this = inner.under_way_of.entry(id.clone()).or_default();
            *of_this += 1;
            let of_this = *of_this;
            inner.peak_of_one = inner.peak_of_one.max(of_this);
        }
        inner.calls.push(Call { at: Timestamp::now(), operation, region, id: id.clone(), status: None, number });
        UnderWay { state: self.clone(), number, id }
    }
}

/// A call that has not been answered yet. Also ends when the client goes away.
pub(super) struct UnderWay {
    state: Arc<State>,
    number: u64,
    id: Option<String>,
}

impl UnderWay {
    pub(super) fn answered(self, status: u16) {
        let mut inner = self.state.lock();
        if let Some(call) = inner.calls.iter_mut().rev().find(|call| call.number == self.number) {
            call.status = Some(status);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut inner = self.state.lock();
        inner.under_way -= 1;
        if let Some(of_this) = self.id.as_ref().and_then(|id| inner.under_way_of.get_mut(id)) {
            *of_this -= 1;
        }
    }
}
