//! Requests without end.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use operator_testing::servers::{Caller, Client};
use operator_testing::wait::eventually;
use tokio::task::JoinSet;

/// Requests that are under way at once.
const WORKERS: usize = 4;
/// Ample for some hundred requests on a machine that does much else.
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

/// What came of it.
pub struct Figures {
    pub sent: usize,
    pub lost: Vec<String>,
    pub took: Duration,
}

impl Figures {
    /// Prints them, also where the test passes, and returns the line: a macro that prints shows nothing then.
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
    /// Without pause.
    pub fn start(client: C) -> Self {
        Self::pausing(client, Duration::ZERO)
    }

    /// With so long a pause after each request of a worker, for tests that take time or load many servers.
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

    /// Waits until so many more have been answered.
    pub async fn more(&self, requests: usize) {
        self.in_all(self.sent() + requests).await;
    }

    /// Waits until so many have been answered since the start.
    pub async fn in_all(&self, requests: usize) {
        let what = format!("{requests} requests in all");
        eventually(AMPLE, &what, async || if self.sent() >= requests { Ok(()) } else { Err(self.sent()) }).await;
    }

    fn sent(&self) -> usize {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// How many were not let in so far.
    pub fn lost(&self) -> usize {
        self.shared.lost.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Ends it, when what is under way has been answered.
    pub async fn stop(mut self) -> Figures {
        // Workers look at the client before each request: none is left to send with.
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
