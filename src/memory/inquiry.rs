//! What is remembered of one certificate that a resource names: what API Gateway said of it, and what was asked.

use crate::api::ClientCertificateRef;
use crate::error::ReadFailure;
use crate::gateway::Source;
use crate::reading::{Came, Demand, Reading, Why};
use crate::settings::Tick;

use std::time::Duration;

/// What is remembered of one certificate.
#[derive(Clone, Debug, Default)]
pub struct Inquiry {
    /// API Gateway's answers.
    pub reading: Reading,
    /// When the resource was seen first: it may wait long for its first pass.
    seen: Option<Tick>,
    /// Whether the resource is suspended, or was and the certificate was not read since.
    pub(super) was_suspended: bool,
    /// The generation of the resource that was last acted on.
    pub generation: Option<i64>,
    /// The value of the refresh annotation that was last acted on.
    pub handled_refresh: Option<String>,
    /// What was asked and is not answered yet.
    asked: Option<Box<Asked>>,
}

/// What was asked of API Gateway, and in which state of the resource.
#[derive(Clone, Debug)]
struct Asked {
    demand: Demand,
    generation: Option<i64>,
    refresh: Option<String>,
    source: Result<Source, ReadFailure>,
}

impl Asked {
    fn fits(&self, generation: Option<i64>, refresh: Option<&str>, source: &Result<Source, ReadFailure>) -> bool {
        self.generation == generation && self.refresh.as_deref() == refresh && self.source == *source
    }
}

impl Inquiry {
    /// About the certificate of a resource that was just met.
    pub(super) fn met(now: Tick) -> Self {
        Inquiry { seen: Some(now), ..Inquiry::default() }
    }

    /// About another certificate of the same resource.
    pub(super) fn for_another(&self) -> Self {
        Inquiry { seen: self.seen.filter(|_| self.generation.is_none()), ..Inquiry::default() }
    }

    /// What to ask API Gateway in this pass, if anything. What was asked in an earlier pass and not answered yet is asked
    /// again, word for word.
    ///
    /// A new refresh annotation wants an answer that is no older than itself. For a new resource, a changed spec and a
    /// description taken over from another resource (`of_description`) one of the last seconds will do; a changed spec does
    /// not put up with an earlier failure, because it may be what mends it.
    pub(super) fn demand(
        &mut self,
        resource: &ClientCertificateRef,
        source: &Result<Source, ReadFailure>,
        of_description: bool,
        now: Tick,
    ) -> Option<Demand> {
        let refresh =
            self.refresh_pending(resource).then(|| resource.refresh_requested().unwrap_or_default().to_owned());
        let why = if self.was_suspended {
            Some(Why::Lifted)
        } else if refresh.is_some() && self.reading.next_forced() <= now {
            Some(Why::Forced)
        } else if self.generation.is_none() {
            Some(Why::New)
        } else if self.generation != resource.generation() || of_description {
            Some(Why::Changed)
        } else if self.reading.has_failed() || self.reading.next(source) <= now {
            Some(Why::Due)
        } else {
            None
        };
        // What was asked stands until it is answered, or something is asked that wants more: that a description was taken
        // over, for example, shows only once.
        let stands = |asked: &&Asked| {
            asked.fits(resource.generation(), refresh.as_deref(), source)
                && why.is_none_or(|why| why == asked.demand.why || why == Why::Due)
        };
        if let Some(asked) = self.asked.as_deref().filter(stands) {
            return Some(Demand { again: true, ..asked.demand.clone() });
        }
        self.asked = None;
        let why = why?;
        let wanted = self.seen.filter(|_| why == Why::New).unwrap_or(now);
        let demand = Demand::new(why, resource.refresh_interval(), self.reading.at(source), wanted, now);
        let asked =
            Asked { demand: demand.clone(), generation: resource.generation(), refresh, source: source.clone() };
        self.asked = Some(Box::new(asked));
        Some(demand)
    }

    /// Takes note of what came. Answers whether it was asked for by somebody who may have mended what failed before.
    pub(super) fn answered(
        &mut self,
        resource: &ClientCertificateRef,
        source: &Result<Source, ReadFailure>,
        came: Came,
        now: Tick,
        jitter: f64,
    ) -> bool {
        let asked = self.asked.take();
        let insisted = asked.as_ref().is_some_and(|asked| asked.demand.insists());
        // An answer from before the annotation, though it did for what was asked, leaves that open.
        let handled = asked.filter(|asked| came.at >= asked.demand.since);
        if let Some(value) = handled.and_then(|asked| asked.refresh) {
            self.handled_refresh = Some(value);
        }
        self.generation = resource.generation();
        self.was_suspended = false;
        self.reading.record(source.clone(), came, resource.refresh_interval(), now, jitter);
        insisted
    }

    /// Whether somebody asks for a read before its time: by another spec, or by the refresh annotation.
    fn read_asked_for(&self, resource: &ClientCertificateRef) -> bool {
        self.generation != resource.generation() || self.refresh_pending(resource)
    }

    /// Whether the refresh annotation has a value that was not acted on.
    pub(super) fn refresh_pending(&self, resource: &ClientCertificateRef) -> bool {
        let recorded = resource.status.as_ref().and_then(|status| status.last_handled_refresh.as_deref());
        let handled = self.handled_refresh.as_deref().or(recorded);
        resource.refresh_requested().is_some_and(|value| handled != Some(value))
    }

    /// When to read next: as the last answer or failure says, sooner where a forced read is pending.
    pub(super) fn next_read(
        &self,
        resource: &ClientCertificateRef,
        source: &Result<Source, ReadFailure>,
        now: Tick,
    ) -> Tick {
        if self.asked.is_some() {
            // Whoever was asked wakes the resource. This is for the case that it does not.
            return now + Duration::from_secs(30);
        }
        let next = self.reading.next(source);
        if self.read_asked_for(resource) { next.min(self.reading.next_forced()) } else { next }
    }
}
