//! The steady clock of the process, which never jumps. A decision receives a [`Tick`] of this clock as an argument.

use tokio::time::{Instant, sleep_until};

use crate::settings::Tick;

/// A steady clock. A copy shows the same time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// A clock that starts at zero.
    pub fn start() -> Self {
        Clock { started: Instant::now() }
    }

    /// The time since the start of the clock.
    pub fn now(&self) -> Tick {
        self.started.elapsed()
    }

    /// Waits until the clock shows `tick`.
    pub async fn wait_until(&self, tick: Tick) {
        sleep_until(self.started + tick).await;
    }
}
