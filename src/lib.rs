//! client-certificate-operator mirrors Amazon API Gateway client certificates into Kubernetes.
//!
//! A [`ClientCertificateRef`](api::ClientCertificateRef) names a certificate. The operator reads it from API Gateway,
//! keeps its PEM in a Secret or ConfigMap beside the resource, and, where the resource asks for it, keeps the certificate's
//! description in API Gateway.
//!
//! # The way of the data
//!
//! ```text
//!  events                 I/O            pure           I/O          pure             I/O
//!  watch ──► controller ─► observe ────► decide ──────► act ───────► conclude ──────► publish
//!  resources, targets,     certificate   Plan:          one Outcome  status, events,  status if it
//!  timers                  and target    Vec<Action>    per Action   next look        differs; events
//! ```
//!
//! [`reconcile`] holds the five steps and reads as a sentence. A failure to look is data in the
//! [`Observation`](reconcile::Observation), a failure to act is data in the [`Outcome`](reconcile::Outcome), so every
//! pass ends in [`reconcile::Publisher`], the only writer of status.
//!
//! The two pure steps decide everything. They, and all that they use, know no Kubernetes client, no AWS SDK, no tokio and
//! no clock: the time is an argument ([`settings::Now`]). `tests/it/architecture.rs` checks that.
//!
//! # The modules, in the order of the data
//!
//! | module | its one job |
//! |---|---|
//! | [`config`] | flags and environment into one typed configuration |
//! | [`api`] | the custom resource: spec, status, columns, the rules it is admitted by |
//! | [`controller`] | which events wake which resource; concurrency; the end |
//! | [`index`] | what the watches tell: targets by owner, claims to descriptions |
//! | [`reconcile`] | the five steps, and the plain values between them |
//! | [`rules`], [`access`] | what each namespace may ask for, as the rules file says; what is in force now |
//! | [`reading`] | what a resource wants to know, and how new it has to be; an answer, checked; when to ask again |
//! | [`gateway::reader`] | one desk for each region and identity: shares answers, and asks for many at once |
//! | [`gateway::budget`] | how many calls an account and region may get, and who is next |
//! | [`gateway`] | the seam to API Gateway; behind it, [`gateway::aws`] alone names the SDK |
//! | [`certificate`] | PEM in, X.509 facts out |
//! | [`target`] | the object that should be there, whose an object is, what differs |
//! | [`description`] | whether to send the description, and when to give in |
//! | [`memory`] | what is remembered of a resource between passes |
//! | [`trouble`] | what goes wrong with the cluster, told once and with what to do |
//! | [`error`] | classes of failure, and how long each means to wait |
//! | [`leader`] | which of several replicas works, and until when it may write |
//! | [`conditions`] | types and reasons; setting one keeps its transition time |
//! | [`cluster`] | which cluster to speak to, and through which proxy |
//! | [`probe`] | one question to a running operator, for images that have no shell |
//! | [`verify`] | whether a backend asks for a certificate, and turns strangers away |
//! | [`listener`], [`server`], [`metrics`], [`telemetry`], [`clock`] | the socket, the open port, the counters, the log, the steady clock |
//!
//! # Why it is as it is
//!
//! - No finalizer: nothing in AWS is ours to delete, and owner references do the rest.
//! - Targets are watched by metadata, selected by label, so memory does not grow with other objects. Their content is
//!   known by version: read whole once at the start, then after each of our own writes; any other version is looked at.
//! - Secrets and ConfigMaps differ in [`target::TargetObject`] alone; requests are generic over it. Of a kind that
//!   `--target-kinds` leaves out nothing is asked, because the operator may have no right on it.
//! - A replacement carries uid and resourceVersion, a creation is a `create`: what somebody else did in between is
//!   never overwritten, it is looked at.
//! - No pass waits for AWS to read: it asks, ends, and is begun anew when there is an answer. So a region that is down, or
//!   an account that is throttled, holds nobody else up.
//! - Each of a resource's certificates is read and remembered by itself. What the status says is in the target, and cannot
//!   be read now, keeps the target from being written without it: a stage may present it.
//! - One replica works, the one that holds the Lease; the [`leader::Fence`] stands before every write, so that nothing has to
//!   be told when the Lease is lost, and a status carries the version that it was made from.
//! - What must survive a restart is in the status; [`memory`] may be lost at any time.
//! - Text in a status is the same when the same thing happens again, so a repeated failure is written once.

pub mod access;
pub mod api;
pub mod certificate;
pub mod clock;
pub mod cluster;
pub mod conditions;
pub mod config;
pub mod controller;
pub mod description;
pub mod error;
#[cfg(test)]
mod fixtures;
pub mod gateway;
pub mod index;
pub mod leader;
pub mod listener;
pub mod memory;
pub mod metrics;
pub mod probe;
pub mod reading;
pub mod reconcile;
pub mod rules;
pub mod server;
pub mod settings;
pub mod target;
pub mod telemetry;
mod text;
pub mod trouble;
pub mod verify;
