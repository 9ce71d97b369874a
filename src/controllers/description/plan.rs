//! Compares the owner's text with the description in API Gateway, and decides whether to send an update. Pure.

use super::attempts::{Attempts, Verdict};
use super::claims::Claim;
use crate::api::ResourceName;
use crate::aws::gateway::{GatewayError, Source};
use crate::settings::Tick;

/// The state of the description of a certificate.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The resource that owns the description.
    pub owner: ResourceName,
    /// The owner's text.
    pub text: String,
    /// The certificate, with the place where the owner reads it.
    pub source: Source,
    /// The state of the description in API Gateway; `None` while it is unknown.
    pub state: Option<State>,
    /// The time of the retry, if there is one.
    pub retry_at: Option<Tick>,
}

/// The description that API Gateway holds, compared with the owner's text.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// The owner's text.
    Synced,
    /// Another text, and the operator may not change it.
    NotManaged,
    /// Another text, which API Gateway stored in response to the owner's text.
    NotApplied,
    /// Another text, because another writer keeps changing the description.
    Contested,
    /// Another text, because the update failed.
    Failed(GatewayError),
}

/// An update to send.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// The claim of the owner.
    pub claim: Claim,
    /// The description in API Gateway before the update.
    pub from: String,
    /// Whether another writer had changed the description.
    pub restores: bool,
}

/// Whether a reconcile may send an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MaySend {
    /// The operator may change no description.
    Never,
    /// A later reconcile may.
    NotNow,
    Yes,
}

/// The updates of one description.
#[derive(Clone, Debug, Default)]
pub struct Updates {
    attempts: Option<Attempts>,
    is_in_progress: bool,
}

impl Updates {
    /// The outcome for the owner's claim if API Gateway holds `found` (`None`: not read yet), and the update to send.
    /// The caller has to call [`Updates::end`] after it sent the update or gave it up. Only the reconcile of the owner
    /// sends; `by` is the resource of this one.
    pub fn plan(
        &mut self,
        owner: &Claim,
        found: Option<&str>,
        by: &ResourceName,
        may_send: MaySend,
        now: Tick,
    ) -> (Outcome, Option<Update>) {
        let Claim { resource, text, source, wish, recorded, is_suspended, .. } = owner;
        let outcome = |state, retry_at| Outcome {
            owner: resource.clone(),
            text: text.clone(),
            source: source.clone(),
            state,
            retry_at,
        };
        let Some(found) = found.filter(|_| !self.is_in_progress) else { return (outcome(None, None), None) };
        self.attempts.take_if(|attempts| !attempts.are_at(text, source));
        let attempts =
            self.attempts.get_or_insert_with(|| Attempts::new(text, source, wish.clone(), *recorded, found, now));
        match (attempts.look(found, wish, now), may_send) {
            (Verdict::Rest(state, retry_at), _) => (outcome(Some(state), retry_at), None),
            (Verdict::Send { .. }, MaySend::Never) => (outcome(Some(State::NotManaged), None), None),
            (Verdict::Send { restores }, MaySend::Yes) if resource == by && !is_suspended => {
                self.is_in_progress = true;
                let update = Update { claim: owner.clone(), from: found.to_owned(), restores };
                (outcome(None, None), Some(update))
            }
            (Verdict::Send { .. }, MaySend::NotNow | MaySend::Yes) => (outcome(None, None), None),
        }
    }

    /// Whether an update that has waited is still right, now that `owner` is the claim of the description's owner. An update
    /// of a former leadership is not.
    pub fn still_want(&self, update: &Update, owner: Option<&Claim>) -> bool {
        let Claim { uid, text, source, .. } = &update.claim;
        let is_same = |owner: &Claim| (&owner.uid, &owner.text, &owner.source) == (uid, text, source);
        self.attempts.is_some() && owner.is_some_and(|owner| is_same(owner) && !owner.is_suspended)
    }

    /// Records the result of an update that was sent: the text that API Gateway holds, or the error.
    pub fn sent(&mut self, result: Result<&str, &GatewayError>, now: Tick, jitter: f64) {
        if let Some(attempts) = &mut self.attempts {
            attempts.sent(result, now, jitter);
        }
    }

    /// Forgets the attempts of a former leadership. An update that waits is not sent.
    pub fn forget_attempts(&mut self) {
        self.attempts = None;
    }

    /// Ends the update in progress.
    pub fn end(&mut self) {
        self.is_in_progress = false;
    }

    /// Whether an update is in progress.
    pub fn is_in_progress(&self) -> bool {
        self.is_in_progress
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::description::{Recorded, Wish};

    fn claim() -> Claim {
        Claim {
            resource: ResourceName::new("backends", "payments"),
            uid: "uid".to_owned(),
            text: "ours".to_owned(),
            source: Source::own("us-east-1", "9ao60f"),
            wish: Wish::default(),
            is_suspended: false,
            recorded: Recorded::Nothing,
            has_failed: false,
        }
    }

    #[test]
    fn an_update_that_waits_is_wanted_as_long_as_its_claim_owns_the_description_in_this_leadership() {
        let (mut updates, claim) = (Updates::default(), claim());
        let mut plan = || updates.plan(&claim, Some("theirs"), &claim.resource, MaySend::Yes, Tick::ZERO).1;
        let update = plan().unwrap();
        assert_eq!(plan(), None, "one at a time");
        assert!(updates.still_want(&update, Some(&claim)));
        for other in [
            None,
            Some(Claim { uid: "recreated".to_owned(), ..claim.clone() }),
            Some(Claim { text: "changed".to_owned(), ..claim.clone() }),
            Some(Claim { source: Source::own("us-east-1", "k2c0qe"), ..claim.clone() }),
            Some(Claim { is_suspended: true, ..claim.clone() }),
        ] {
            assert!(!updates.still_want(&update, other.as_ref()), "{other:?}");
        }
        updates.forget_attempts();
        assert!(!updates.still_want(&update, Some(&claim)), "another replica has led meanwhile");
    }
}
