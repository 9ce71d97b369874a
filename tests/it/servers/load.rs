//! A client that sends requests all the time.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use operator_testing::servers::{Caller, Client};
use operator_testing::wait::eventually;
use tokio::task::JoinSet;

/// The number of requests in progress at once.
const WORKERS: usize = 4;
/// A generous limit for some hundred requests on a busy machine.
const AMPLE: Duration = Duration::from_secs(120);

/// A client that sends one request after the other, each over a new connection, until it is stopped or dropped.
pub struct Load<C = Client> {
    shared: Arc<Shared<C>>,
    started: Instant,
    workers: JoinSet<()>,
}

struct Shared<C> {
    client: Mutex<C>,
    sent: AtomicUsize,
    lost: Mutex<Vec<String>>,
    pause: Duration,
}

/// The result of the load.
pub struct Figures {
    pub sent: usize,
    pub lost: Vec<String>,
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
        let mut shown = std::io::stderr();
        writeln!(shown, "{line}").unwrap();
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
        let (client, sent, lost) = (Mutex::new(client), AtomicUsize::new(0), Mutex::default());
        let shared = Arc::new(Shared { client, sent, lost, pause });
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
        let what = format!("{requests} requests in all");
        eventually(AMPLE, &what, async || if self.sent() >= requests { Ok(()) } else { Err(self.sent()) }).await;
    }

    fn sent(&self) -> usize {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// The number of requests that were not let in so far.
    pub fn lost(&self) -> usize {
        self.shared.lost.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Ends the load after the requests in progress have an answer.
    pub async fn stop(mut self) -> Figures {
        // Each worker checks the count before each request, and ends.
        self.shared.sent.fetch_add(STOPPED, Ordering::Relaxed);
        while self.workers.join_next().await.is_some() {}
        let sent = self.sent() - STOPPED;
        let lost = std::mem::take(&mut *self.shared.lost.lock().unwrap_or_else(PoisonError::into_inner));
        Figures { sent, lost, took: self.started.elapsed() }
    }
}

/// Added to the count, it ends the workers.
const STOPPED: usize = 1 << 32;

async fn send(shared: Arc<Shared<impl Caller>>) {
    while shared.sent.load(Ordering::Relaxed) < STOPPED {
        let client = shared.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = client.call().await;
        if !answer.is_let_in() {
            shared.lost.lock().unwrap_or_else(PoisonError::into_inner).push(answer.to_string());
        }
        shared.sent.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(shared.pause).await;
    }
}
