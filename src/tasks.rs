//! The background tasks of the process. The unexpected end of a task, by return or by panic, ends the process.

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

/// Starts background tasks.
#[derive(Clone, Debug)]
pub struct Tasks(UnboundedSender<&'static str>);

/// Receives the names of tasks that ended unexpectedly.
#[derive(Debug)]
pub struct Ended(UnboundedReceiver<&'static str>);

impl Tasks {
    /// A starter without tasks, and the receiver of unexpected ends.
    pub fn new() -> (Self, Ended) {
        let (sender, receiver) = unbounded_channel();
        (Tasks(sender), Ended(receiver))
    }

    /// Starts a task that runs as long as the process.
    pub fn spawn<T>(&self, name: &'static str, task: impl Future<Output = T> + Send + 'static) {
        self.start(name, true, async move { drop(task.await) });
    }

    /// Starts a task that may end. Only a panic is unexpected.
    pub fn spawn_finite(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.start(name, false, task)
    }

    fn start(
        &self,
        name: &'static str,
        runs_forever: bool,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let watched = Watched { name, runs_forever, ended: self.0.clone() };
        tokio::spawn(async move {
            let _watched = watched;
            task.await;
        })
    }
}

impl Ended {
    /// Waits for the next unexpected end.
    pub async fn next(&mut self) -> &'static str {
        match self.0.recv().await {
            Some(name) => name,
            None => std::future::pending().await,
        }
    }
}

/// Reports an unexpected end of the task, when it is dropped with the task.
struct Watched {
    name: &'static str,
    runs_forever: bool,
    ended: UnboundedSender<&'static str>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.runs_forever || std::thread::panicking() {
            // The receiver is gone when the process ends.
            let _ = self.ended.send(self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_an_unexpected_end_is_reported() {
        let (tasks, mut ended) = Tasks::new();
        tasks.spawn_finite("finite", async {}).await.unwrap();
        tasks.spawn_finite("panics", async { panic!("as a test wants it") }).await.unwrap_err();
        assert_eq!(ended.next().await, "panics");
        tasks.spawn("watch", async {});
        assert_eq!(ended.next().await, "watch");
        tasks.spawn("panics too", async { panic!("as a test wants it") });
        assert_eq!(ended.next().await, "panics too");
    }
}
