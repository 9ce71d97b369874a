//! The queue of reconciles: one a key at a time, a limited number in all.
//!
//! It is kube's scheduler with a loop of its own. kube's `applier` asks that scheduler for the present time, and its
//! timer rounds up to milliseconds, so each reconcile would wait for 2 ms.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;

use futures::channel::mpsc;
use futures::stream::{self, FuturesUnordered};
use futures::{FutureExt, Stream, StreamExt};
use kube::runtime::scheduler::{ScheduleRequest, scheduler};
use tokio::time::Instant;

/// Reconciles each key that is woken until asked to stop; then ends the running reconciles.
///
/// `reconcile` returns the time after which the key is due again. A key that is woken while its reconcile runs is
/// reconciled again afterwards. `runs` is called whenever the loop runs, at least every `idle`.
pub async fn work_through<K, F>(
    wakes: impl Stream<Item = K>,
    concurrency: u16,
    idle: Duration,
    runs: impl Fn(),
    stop: impl Future<Output = ()>,
    reconcile: impl Fn(&K) -> F,
) where
    K: Clone + Debug + Eq + Hash,
    F: Future<Output = Option<Duration>>,
{
    let (requeue, requeued) = mpsc::unbounded();
    // The scheduler releases without its timer what was due before it began.
    let run_at = Instant::now();
    let woken = wakes.map(move |message| ScheduleRequest { message, run_at });
    let mut queue = std::pin::pin!(scheduler(stream::select(woken, requeued)));
    let mut stop = std::pin::pin!(stop);
    let (mut running, mut keys) = (FuturesUnordered::new(), HashSet::new());
    let mut idle = tokio::time::interval(idle);
    loop {
        runs();
        let is_free = running.len() < usize::from(concurrency);
        let mut next = queue.as_mut().hold_unless(|key| !keys.contains(key));
        tokio::select! {
            Some(key) = next.next(), if is_free => {
                running.push(reconcile(&key).map({
                    let key = key.clone();
                    move |requeue_after| (key, requeue_after)
                }));
                keys.insert(key);
            }
            Some((message, requeue_after)) = running.next() => {
                keys.remove(&message);
                if let Some(after) = requeue_after {
                    let _ = requeue.unbounded_send(ScheduleRequest { message, run_at: Instant::now() + after });
                }
            }
            () = &mut stop => break,
            _ = idle.tick() => {}
        }
    }
    while running.next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    use tokio::task::LocalSet;

    use super::*;

    /// A queue whose reconciles last for a second each, and what they did.
    struct Queue {
        wake: mpsc::UnboundedSender<&'static str>,
        stop: tokio::sync::oneshot::Sender<()>,
        ended: tokio::task::JoinHandle<()>,
        log: Rc<RefCell<Vec<(u128, String)>>>,
        runs: Rc<Cell<usize>>,
    }

    const TAKES: Duration = Duration::from_secs(1);

    impl Queue {
        fn start(concurrency: u16, requeue_after: Option<Duration>) -> Self {
            let (wake, woken) = mpsc::unbounded();
            let (stop, stopped) = tokio::sync::oneshot::channel();
            let (log, runs) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)));
            let began = Instant::now();
            let (noted, counted) = (Rc::clone(&log), Rc::clone(&runs));
            let reconcile = move |key: &&'static str| {
                let (key, log) = (*key, Rc::clone(&noted));
                async move {
                    log.borrow_mut().push((began.elapsed().as_millis(), format!("{key} begins")));
                    tokio::time::sleep(TAKES).await;
                    log.borrow_mut().push((began.elapsed().as_millis(), format!("{key} ends")));
                    requeue_after
                }
            };
            let ended = tokio::task::spawn_local(async move {
                let stop = stopped.map(|_| ());
                let runs = || counted.set(counted.get() + 1);
                work_through(woken, concurrency, Duration::from_secs(10), runs, stop, reconcile).await;
            });
            Self { wake, stop, ended, log, runs }
        }

        fn wake(&self, key: &'static str) {
            self.wake.unbounded_send(key).unwrap();
        }

        fn log(&self) -> Vec<(u128, String)> {
            let mut log = self.log.borrow().clone();
            log.sort();
            log
        }
    }

    fn log(entries: &[(u128, &str)]) -> Vec<(u128, String)> {
        entries.iter().map(|(at, what)| (*at, (*what).to_owned())).collect()
    }

    async fn after(milliseconds: u64) {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_wake_begins_a_reconcile_without_a_timer() {
        LocalSet::new()
            .run_until(async {
                let queue = Queue::start(2, None);
                tokio::task::yield_now().await;
                // Between two milliseconds: a timer would wait for the next one.
                tokio::time::advance(Duration::from_micros(500_300)).await;
                queue.wake("a");
                // The paused clock advances only when all tasks wait, which this one never does.
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                assert_eq!(queue.log(), log(&[(500, "a begins")]));
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_is_woken_during_its_reconcile_is_reconciled_once_more() {
        LocalSet::new()
            .run_until(async {
                let queue = Queue::start(5, None);
                queue.wake("a");
                after(300).await;
                queue.wake("a");
                queue.wake("a");
                after(5_000).await;
                assert_eq!(
                    queue.log(),
                    log(&[(0, "a begins"), (1_000, "a begins"), (1_000, "a ends"), (2_000, "a ends")])
                );
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_limit_run_at_once() {
        LocalSet::new()
            .run_until(async {
                let queue = Queue::start(2, None);
                for key in ["a", "b", "c", "d", "e"] {
                    queue.wake(key);
                }
                after(10_000).await;
                let log = queue.log();
                let begun = |at| log.iter().filter(|entry| entry.0 == at && entry.1.ends_with("begins")).count();
                assert_eq!([0, 1_000, 2_000, 3_000].map(begun), [2, 2, 1, 0]);
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_requeued_and_a_wake_comes_before_that() {
        LocalSet::new()
            .run_until(async {
                let queue = Queue::start(2, Some(Duration::from_secs(60)));
                queue.wake("a");
                after(30_000).await;
                queue.wake("a");
                after(70_000).await;
                let begun: Vec<_> =
                    queue.log().iter().filter(|entry| entry.1 == "a begins").map(|entry| entry.0).collect();
                // From the last reconcile, which ended at 31 s.
                assert_eq!(begun, [0, 30_000, 91_000]);
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_running_reconciles_and_begins_none() {
        LocalSet::new()
            .run_until(async {
                let queue = Queue::start(1, Some(Duration::ZERO));
                queue.wake("a");
                queue.wake("b");
                after(100).await;
                queue.stop.send(()).unwrap();
                queue.ended.await.unwrap();
                let log = queue.log.borrow().clone();
                assert_eq!(log.len(), 2, "{log:?}");
                assert!(log[0].1.ends_with("begins") && log[1].1.ends_with("ends"), "{log:?}");
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_loop_runs_while_the_queue_is_empty() {
        LocalSet::new()
            .run_until(async {
                let queue = Queue::start(1, None);
                after(35_000).await;
                assert_eq!(queue.runs.get(), 5);
            })
            .await;
    }
}
