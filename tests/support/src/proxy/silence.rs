//! Connections that stay open without any more data.

use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, Incoming};
use tokio::sync::watch;

/// Whether one connection is silent.
#[derive(Clone)]
pub(super) struct Silenced {
    silences: watch::Receiver<usize>,
    before: usize,
}

impl Silenced {
    /// A connection that becomes silent with the next silence.
    pub(super) fn of(silences: &watch::Sender<usize>) -> Self {
        let silences = silences.subscribe();
        let before = *silences.borrow();
        Self { silences, before }
    }

    /// A connection that is silent from the start.
    pub(super) fn at_once() -> Self {
        Self { silences: watch::channel(1).1, before: 0 }
    }

    pub(super) fn is_now(&self) -> bool {
        *self.silences.borrow() > self.before
    }

    /// Waits until the connection becomes silent.
    pub(super) async fn wait(&mut self) {
        let before = self.before;
        if self.silences.wait_for(|silences| *silences > before).await.is_err() {
            std::future::pending().await
        }
    }

    /// A body that yields no more data after the connection becomes silent.
    pub(super) fn body(self, inner: Incoming) -> SilencedBody {
        SilencedBody { inner, silenced: self }
    }
}

pub(super) struct SilencedBody {
    inner: Incoming,
    silenced: Silenced,
}

impl Body for SilencedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        // No event wakes the body after that: all data is dropped, including the end.
        if self.silenced.is_now() { Poll::Pending } else { frame }
    }

    fn is_end_stream(&self) -> bool {
        !self.silenced.is_now() && self.inner.is_end_stream()
    }
}
