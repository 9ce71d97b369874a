//! The log of all calls, and the number of calls in progress at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::Emulator;
use super::roles::AssumeRole;
use super::state::State;
use crate::script::Operation;

/// A call.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// The time of arrival.
    pub at: Timestamp,
    /// The operation.
    pub operation: Operation,
    /// The access key in the signature, which may be invalid.
    pub access_key_id: Option<String>,
    /// The account of the access key, which is the caller's.
    pub account: Option<String>,
    /// The region in the signature.
    pub region: Option<String>,
    /// The certificate or REST API of the call; for ACM, the ARN.
    pub id: Option<String>,
    /// The stage of the call.
    pub stage: Option<String>,
    /// The parameters of an AssumeRole.
    pub assume_role: Option<AssumeRole>,
    /// The status of the answer; `None` while the call is in progress, and if it had no answer.
    pub status: Option<u16>,
    #[serde(skip)]
    pub(super) number: u64,
}

impl Call {
    pub(super) fn now(operation: Operation) -> Self {
        Self {
            at: Timestamp::now(),
            operation,
            access_key_id: None,
            account: None,
            region: None,
            id: None,
            stage: None,
            assume_role: None,
            status: None,
            number: 0,
        }
    }

    fn certificate(&self) -> Option<Certificate> {
        Some((self.account.clone(), self.region.clone(), self.id.clone()?))
    }
}

type Certificate = (Option<String>, Option<String>, String);

impl Emulator {
    /// The calls since the start or the last clearing, in the order of arrival.
    pub fn calls(&self) -> Vec<Call> {
        self.state.lock().calls.clone()
    }

    fn count_where(&self, fits: impl Fn(&Call) -> bool) -> usize {
        self.state.lock().calls.iter().filter(|call| fits(call)).count()
    }

    /// The number of calls of an operation.
    pub fn count(&self, operation: Operation) -> usize {
        self.count_where(|call| call.operation == operation)
    }

    /// The number of calls of an operation for one certificate.
    pub fn count_of(&self, operation: Operation, id: &str) -> usize {
        self.count_where(|call| call.operation == operation && call.id.as_deref() == Some(id))
    }

    /// The number of calls of an operation from one account for one region.
    pub fn count_in(&self, operation: Operation, account: &str, region: &str) -> usize {
        self.count_where(|call| {
            (call.operation, call.account.as_deref(), call.region.as_deref())
                == (operation, Some(account), Some(region))
        })
    }

    /// The greatest number of calls in progress at once.
    pub fn peak_under_way(&self) -> usize {
        self.state.lock().peaks.most
    }

    /// The greatest number of calls for one certificate in progress at once.
    pub fn peak_of_one_certificate(&self) -> usize {
        self.state.lock().peaks.most_of_one
    }

    /// Clears the log of calls.
    pub fn clear_calls(&self) {
        self.state.clear_calls();
    }
}

/// The calls in progress, and their greatest numbers.
#[derive(Default)]
pub(super) struct Peaks {
    pub(super) most: usize,
    most_of_one: usize,
    under_way: usize,
    under_way_of: BTreeMap<Certificate, usize>,
    next_number: u64,
}

impl State {
    pub(super) fn clear_calls(&self) {
        let mut inner = self.lock();
        inner.calls.clear();
        inner.peaks.most = 0;
        inner.peaks.most_of_one = 0;
    }

    /// Records a call. It is in progress until the answer is dropped.
    pub(super) fn arrived(self: &Arc<Self>, mut call: Call) -> UnderWay {
        let certificate = call.certificate();
        let mut inner = self.lock();
        let peaks = &mut inner.peaks;
        call.number = peaks.next_number;
        peaks.next_number += 1;
        peaks.under_way += 1;
        peaks.most = peaks.most.max(peaks.under_way);
        if let Some(certificate) = &certificate {
            let of_this = peaks.under_way_of.entry(certificate.clone()).or_default();
            *of_this += 1;
            peaks.most_of_one = peaks.most_of_one.max(*of_this);
        }
        let number = call.number;
        inner.calls.push(call);
        UnderWay { state: self.clone(), number, certificate }
    }
}

/// A call in progress. It also ends when the client closes the connection.
pub(super) struct UnderWay {
    state: Arc<State>,
    number: u64,
    certificate: Option<Certificate>,
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
        let peaks = &mut inner.peaks;
        peaks.under_way -= 1;
        if let Some(of_this) = self.certificate.as_ref().and_then(|certificate| peaks.under_way_of.get_mut(certificate))
        {
            *of_this -= 1;
        }
    }
}
