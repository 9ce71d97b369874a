//! The background tasks of the process. The unexpected end of a task, by return or by panic, ends the process.

use anyhow::bail;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
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
    /// Runs `work` to its end. The unexpected end of a task before `stopping` is true is an error, and drops `work`.
    pub async fn supervise(
        mut self,
        work: impl Future<Output = anyhow::Result<()>>,
        stopping: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        tokio::select! {
            result = work => result,
            name = self.before(&stopping) => bail!("background task `{name}` ended unexpectedly; exiting to be restarted"),
        }
    }

    async fn before(&mut self, stopping: &watch::Receiver<bool>) -> &'static str {
        loop {
            match self.0.recv().await {
                Some(name) if !*stopping.borrow() => return name,
                Some(_) => {}
                None => std::future::pending().await,
            }
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

    async fn supervised(start: impl FnOnce(&Tasks), is_stopping: bool) -> Result<(), String> {
        let (tasks, ended) = Tasks::new();
        let (_stop, stopping) = watch::channel(is_stopping);
        start(&tasks);
        let work = async {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            Ok(())
        };
        ended.supervise(work, stopping).await.map_err(|error| error.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn only_an_unexpected_end_ends_the_work() {
        let message = |name| Err(format!("background task `{name}` ended unexpectedly; exiting to be restarted"));
        let panics = async || panic!("as a test wants it");
        assert_eq!(supervised(|tasks| drop(tasks.spawn_finite("finite", async {})), false).await, Ok(()));
        assert_eq!(supervised(|tasks| drop(tasks.spawn_finite("panics", panics())), false).await, message("panics"));
        assert_eq!(supervised(|tasks| tasks.spawn("returns", async {}), false).await, message("returns"));
        assert_eq!(supervised(|tasks| tasks.spawn("panics", panics()), false).await, message("panics"));
        assert_eq!(supervised(|tasks| tasks.spawn("returns", async {}), true).await, Ok(()), "the process stops");
    }
}
