//! Third step: run the actions, each by itself. A refused description update never stops the mirror, nor the reverse.

mod objects;
mod refusal;

pub use objects::fetch;
pub use refusal::classify;

use std::time::Duration;

use futures::future::join_all;

use super::{Action, Context, Done, Outcome};
use crate::error::ClusterFailure;
use crate::gateway::reader::Described;
use crate::gateway::{Gateway, GatewayError, Outage, Source};

/// How long an update of a description may go on after the process was asked to stop. What follows it, the status and
/// the events, has to fit into the same eight seconds.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Runs the actions. Those on earlier targets wait for the target itself, and are left out when it fails.
pub async fn act<G: Gateway>(namespace: &str, actions: &[Action], context: &Context<G>) -> Vec<Outcome> {
    let (descriptions, writes): (Vec<_>, Vec<_>) =
        actions.iter().cloned().partition(|action| matches!(action, Action::SetDescription { .. }));
    let describing = join_all(descriptions.into_iter().map(|action| run(action, namespace, context)));
    let (mut outcomes, described) = tokio::join!(write_in_order(writes, namespace, context), describing);
    outcomes.extend(described);
    outcomes
}

/// Runs the writes of a second look in place of those of the first. The description was tried already.
pub async fn again<G: Gateway>(
    before: Vec<Outcome>,
    namespace: &str,
    actions: &[Action],
    context: &Context<G>,
) -> Vec<Outcome> {
    let is_description = |action: &Action| matches!(action, Action::SetDescription { .. });
    let writes = actions.iter().filter(|action| !is_description(action)).cloned().collect();
    let mut outcomes = write_in_order(writes, namespace, context).await;
    outcomes.extend(before.into_iter().filter(|outcome| is_description(&outcome.action)));
    outcomes
}

/// Whether the target was there, or changed, where the cache believed otherwise.
pub fn somebody_came_first(outcomes: &[Outcome]) -> bool {
    outcomes.iter().any(|outcome| {
        matches!(outcome.action, Action::CreateTarget { .. } | Action::ReplaceTarget { .. })
            && matches!(outcome.done, Done::NotWritten(ClusterFailure::AlreadyExists | ClusterFailure::Conflict))
    })
}

async fn write_in_order<G: Gateway>(actions: Vec<Action>, namespace: &str, context: &Context<G>) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(actions.len());
    for action in actions {
        let of_earlier = matches!(action, Action::DeleteTarget { .. } | Action::ReleaseTarget { .. });
        let failed = outcomes.iter().any(|outcome| outcome.done != Done::Written);
        if of_earlier && failed {
            outcomes.push(Outcome { action, done: Done::Skipped });
        } else {
            outcomes.push(run(action, namespace, context).await);
        }
    }
    outcomes
}

async fn run<G: Gateway>(action: Action, namespace: &str, context: &Context<G>) -> Outcome {
    let done = match &action {
        Action::CreateTarget { .. }
        | Action::ReplaceTarget { .. }
        | Action::DeleteTarget { .. }
        | Action::ReleaseTarget { .. } => written(objects::write(&action, context).await),
        Action::SetDescription { source, to, .. } => match set_description(source, to, namespace, context).await {
            Described::Done(Ok(answer)) => Done::Described(answer.description),
            Described::Done(Err(error)) => Done::NotDescribed(error),
            Described::Later(at) => Done::Later(at),
        },
    };
    Outcome { action, done }
}

fn written(result: Result<(), ClusterFailure>) -> Done {
    match result {
        Ok(()) => Done::Written,
        Err(failure) => Done::NotWritten(failure),
    }
}

/// An update that is under way when the process is asked to stop gets a moment to end, so that it is not cut in half.
async fn set_description<G: Gateway>(source: &Source, to: &str, namespace: &str, context: &Context<G>) -> Described {
    let mut stopping = context.stopping.clone();
    let too_late = async {
        let _ = stopping.wait_for(|stopping| *stopping).await;
        tokio::time::sleep(LAST_WORDS).await;
    };
    tokio::select! {
        described = context.reader.set_description(source, to, namespace) => described,
        () = too_late => {
            Described::Done(Err(GatewayError::Unavailable { outage: Outage::TimedOut, retry_after: None }))
        }
    }
}
