//! A failure is logged once, until it changes or ends.

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
    /// `recovered` is logged when the failure ends.
    pub fn new(recovered: impl Into<Cow<'static, str>>) -> Self {
        LogOnce { last: Mutex::default(), recovered: recovered.into() }
    }

    /// Logs the failure, unless it is the one that was logged last.
    pub fn warn(&self, failure: String) {
        let mut last = self.last.lock();
        if last.as_ref() != Some(&failure) {
            warn!("{failure}");
            *last = Some(failure);
        }
    }

    /// Logs that the failure has ended, where there was one.
    pub fn recovered(&self) {
        if self.last.lock().take().is_some() {
            info!("{}", self.recovered);
        }
    }
}
