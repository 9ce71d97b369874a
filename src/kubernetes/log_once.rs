//! Logs a failure once, until it changes or ends.

use std::borrow::Cow;

use parking_lot::Mutex;
use tracing::{info, warn};

/// Logs a failure once, until it changes or ends.
#[derive(Debug)]
pub struct LogOnce {
    last: Mutex<Option<String>>,
    recovered: Cow<'static, str>,
}

impl LogOnce {
    /// A log without a failure. `recovered` is the line for the end of a failure.
    pub fn new(recovered: impl Into<Cow<'static, str>>) -> Self {
        LogOnce { last: Mutex::default(), recovered: recovered.into() }
    }

    /// Logs the failure, unless it equals the last one.
    pub fn warn(&self, failure: String) {
        let mut last = self.last.lock();
        if last.as_ref() != Some(&failure) {
            warn!("{failure}");
            *last = Some(failure);
        }
    }

    /// Logs the end of the failure, if there was one.
    pub fn recovered(&self) {
        if self.last.lock().take().is_some() {
            info!("{}", self.recovered);
        }
    }
}
