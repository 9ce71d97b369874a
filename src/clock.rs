//! The steady clock of the process, which never jumps. Decisions get its [`Tick`]s as an argument.

use tokio::time::{Instant, sleep_until};

use crate::settings::Tick;

/// A steady clock. Copies show the same time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// A clock that starts at zero.
    pub fn start() -> Self {
        Clock { started: Instant::now() }
    }

    /// What it shows.
    pub fn now(&self) -> Tick {
        self.started.elapsed()
    }

    /// Waits until it shows this.
    pub async fn wait_until(&self, tick: Tick) {
        sleep_until(self.started + tick).await;
    }
}
