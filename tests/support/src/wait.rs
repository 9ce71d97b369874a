//! Waiting for something to become true, or watching that it stays untrue, with a failure that says what was waited for.

use std::fmt::{Debug, Display};
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(50);

/// One attempt's outcome: a value, or why there is none yet.
pub trait Attempt {
    /// What is there once the attempt succeeds.
    type Value;

    /// The value, or the reason to try again.
    fn outcome(self) -> Result<Self::Value, String>;
}

impl<T> Attempt for Option<T> {
    type Value = T;

    fn outcome(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing yet".to_owned())
    }
}

impl<T, E: Display> Attempt for Result<T, E> {
    type Value = T;

    fn outcome(self) -> Result<T, String> {
        // The alternate form is how anyhow shows a cause.
        self.map_err(|error| format!("{error:#}"))
    }
}

impl Attempt for bool {
    type Value = ();

    fn outcome(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("not yet".to_owned()) }
    }
}

/// Tries until an attempt succeeds: `Some`, `Ok` or `true`.
///
/// # Panics
/// When `limit` has passed, naming `what` and the last attempt's outcome. An attempt that hangs is cut off at the limit, too.
pub async fn eventually<A: Attempt>(limit: Duration, what: &str, mut attempt: impl AsyncFnMut() -> A) -> A::Value {
    let start = Instant::now();
    let mut attempts = 0;
    let mut last = "the first attempt has not returned".to_owned();
    let found = tokio::time::timeout(limit, async {
        loop {
            attempts += 1;
            match attempt().await.outcome() {
                Ok(value) => return value,
                Err(reason) => last = reason,
            }
            tokio::time::sleep(PAUSE).await;
        }
    })
    .await;
    match found {
        Ok(value) => value,
        Err(_) => panic!("not within {:.1?}: {what} ({attempts} attempts; the last: {last})", start.elapsed()),
    }
}

/// Watches for the whole `duration` that the attempt finds nothing.
///
/// # Panics
/// As soon as it finds something, naming `what` and the value.
pub async fn never<T: Debug>(duration: Duration, what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) {
    let start = Instant::now();
    loop {
        if let Some(value) = attempt().await {
            panic!("after {:.1?}, though it must never be: {what}: {value:?}", start.elapsed());
        }
        if start.elapsed() >= duration {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
