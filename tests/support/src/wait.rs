//! Waits until a condition is true, or checks that it stays false. A failure names the condition.

use std::fmt::{Debug, Display};
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(50);

/// The outcome of one attempt: a value, or the reason for which there is none yet.
pub trait Attempt {
    /// The value of a successful attempt.
    type Value;

    /// The value, or the reason to retry.
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
        // anyhow shows causes in the alternate form.
        self.map_err(|error| format!("{error:#}"))
    }
}

impl Attempt for bool {
    type Value = ();

    fn outcome(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("not yet".to_owned()) }
    }
}

/// Repeats an attempt until it succeeds: `Some`, `Ok` or `true`.
///
/// # Panics
/// After `limit`, with `what` and the last attempt's outcome. The limit also ends an attempt that hangs.
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

/// Checks for the whole `duration` that the attempt finds nothing.
///
/// # Panics
/// As soon as the attempt finds a value, with `what` and the value.
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
