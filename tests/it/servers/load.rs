//! A client that sends requests all the time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use operator_testing::servers::{Caller, Client};
use operator_testing::wait::eventually;
use tokio::task::JoinSet;

use crate::show::show;

/// The number of requests in progress at once.
const WORKERS: usize = 4;
/// A generous limit for some hundred requests on a busy machine.
const AMPLE: Duration = Duration::from_secs(120);
const SOME_HUNDRED: usize = 500;

/// A client that sends one request after the other, each over a new connection, until it is stopped or dropped.
pub struct Load<C = Client> {
    shared: Arc<Shared<C>>,
    started: Instant,
    workers: JoinSet<()>,
}

struct Shared<C> {
    client: Mutex<C>,
    has_ended: AtomicBool,
    parts: Mutex<Vec<Part>>,
    pause: Duration,
}

/// The result of the requests that began within a part of the load.
#[derive(Clone, Debug, Default)]
pub struct Part {
    pub sent: usize,
    pub lost: Vec<String>,
}

/// The result of the load.
pub struct Figures {
    pub sent: usize,
    pub lost: Vec<String>,
    /// The result of the part that began last.
    pub last_part: Part,
    pub took: Duration,
}

impl Figures {
    /// Prints the figures, also if the test passes, and returns the line. The output of a print macro would be
    /// captured.
    pub fn print(&self, what: &str) -> String {
        let line = format!(
            "{what}: {} requests, each over a new connection, {} lost, in {:.1} s",
            self.sent,
            self.lost.len(),
            self.took.as_secs_f64()
        );
        show(&line);
        line
    }
}

impl<C: Caller> Load<C> {
    /// Starts a load without pauses.
    pub fn start(client: C) -> Self {
        Self::pausing(client, Duration::ZERO)
    }

    /// Starts a load with a pause after each request of a worker, for long tests or many servers.
    pub fn pausing(client: C, pause: Duration) -> Self {
        let (client, has_ended, parts) =
            (Mutex::new(client), AtomicBool::new(false), Mutex::new(vec![Part::default()]));
        let shared = Arc::new(Shared { client, has_ended, parts, pause });
        let mut workers = JoinSet::new();
        for _ in 0..WORKERS {
            workers.spawn(send(shared.clone()));
        }
        Load { shared, started: Instant::now(), workers }
    }

    /// Presents another certificate from the next request on.
    pub fn change_over(&self, client: C) {
        *self.shared.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
    }

    /// Waits for this number of further answers.
    pub async fn more(&self, requests: usize) {
        self.in_all(self.sent() + requests).await;
    }

    /// Waits for this number of answers since the start.
    pub async fn in_all(&self, requests: usize) {
        until_sent(requests, || self.sent()).await;
    }

    /// Begins another part. A request in progress belongs to the former part, whenever its answer comes.
    pub fn begin_part(&self) {
        self.shared.parts().push(Part::default());
    }

    /// Waits for this number of answers to requests that began in this part.
    pub async fn in_this_part(&self, requests: usize) {
        until_sent(requests, || self.shared.parts().last().map_or(0, |part| part.sent)).await;
    }

    fn sent(&self) -> usize {
        self.shared.parts().iter().map(|part| part.sent).sum()
    }

    /// The answers so far to the requests that were not let in.
    pub fn lost(&self) -> Vec<String> {
        self.shared.parts().iter().flat_map(|part| part.lost.clone()).collect()
    }

    /// Ends the load after the requests in progress have an answer.
    pub async fn stop(mut self) -> Figures {
        self.shared.has_ended.store(true, Ordering::Relaxed);
        while self.workers.join_next().await.is_some() {}
        let (sent, took) = (self.sent(), self.started.elapsed());
        let parts = std::mem::take(&mut *self.shared.parts());
        let last_part = parts.last().cloned().unwrap_or_default();
        Figures { sent, lost: parts.into_iter().flat_map(|part| part.lost).collect(), last_part, took }
    }
}

impl<C> Shared<C> {
    fn parts(&self) -> MutexGuard<'_, Vec<Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for many requests, some hundred at a time: the time for all of them depends on the machine.
async fn until_sent(requests: usize, sent: impl Fn() -> usize) {
    loop {
        let next = requests.min(sent() + SOME_HUNDRED);
        let what = format!("{next} of {requests} requests");
        eventually(AMPLE, &what, async || if sent() >= next { Ok(()) } else { Err(sent()) }).await;
        if next == requests {
            return;
        }
    }
}

async fn send(shared: Arc<Shared<impl Caller>>) {
    while !shared.has_ended.load(Ordering::Relaxed) {
        let client = shared.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let part = shared.parts().len() - 1;
        let answer = client.call().await;
        {
            let part = &mut shared.parts()[part];
            part.sent += 1;
            part.lost.extend(Some(answer.to_string()).filter(|_| !answer.is_let_in()));
        }
        tokio::time::sleep(shared.pause).await;
    }
}
