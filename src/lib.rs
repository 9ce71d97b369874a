//! client-certificate-operator mirrors Amazon API Gateway client certificates into Kubernetes.
//!
//! A [`ClientCertificateRef`](api::ClientCertificateRef) names a certificate, or the stage that presents it. The operator
//! reads it from API Gateway, keeps its PEM in a Secret or ConfigMap beside the resource, and, where the resource asks for it,
//! keeps the certificate's description in API Gateway.
//!
//! # The data flow
//!
//! ```text
//!  Kubernetes ─ watch ─► stores (resources; targets by metadata) ──┐
//!                                                                  ├─► queue ─► reconcile:  snapshot ─► plan ─► apply ─► status
//!  AWS ─────── poll ───► cache (certificates, stages, ACM) ────────┘           (reads)     (pure)    (I/O)    (pure, then one write)
//! ```
//!
//! Three principles:
//!
//! 1. **The status is the memory.** A decision needs the spec, the status, the target, and caches that can be rebuilt. A
//!    process that has just started decides as the one before it did. Backoffs and counters may be lost.
//! 2. **AWS is one more informer.** A poller for each region and identity keeps snapshots and wakes a resource when a
//!    snapshot changed. A reconcile reads snapshots and never waits for AWS.
//! 3. **One controller, one concern, one key.** The mirror is keyed by resource, the description by certificate.
//!
//! # The modules, in the order of the data
//!
//! | module | its one job |
//! |---|---|
//! | [`config`], [`settings`] | flags and environment in one typed configuration |
//! | [`api`], [`conditions`] | the custom resource: spec, status, columns, admission rules; conditions and reasons |
//! | [`kubernetes`], [`leader`] | client with deadlines and write guard, watches, the stores they fill; who holds the Lease |
//! | [`controller`] | composition: which event wakes which resource, the queue, the end |
//! | [`rules`], [`access`] | what a namespace may ask for; which certificates and stages a resource may read |
//! | [`aws`] | snapshots of certificates and stages, the pollers that fill them, the rate limit; [`aws::client`] alone names the SDK |
//! | [`controllers::mirror`] | snapshot, plan, apply, status of one resource |
//! | [`controllers::description`] | who owns the description of a certificate, and when it is sent |
//! | [`certificate`], [`target`] | PEM to X.509 facts; the object that should exist, whose an object is, what differs |
//! | [`error`], [`backoff`] | classes of failures and the message for each; how long to wait after one |
//! | [`verify`], [`probe`] | the other commands |
//! | [`health`], [`listener`], [`server`], [`metrics`], [`telemetry`], [`tasks`], [`clock`] | probes, counters, log, supervision, the steady clock |
//!
//! `tests/it/architecture.rs` checks that the pure modules name no client, no SDK, no tokio and no clock.
//!
//! # Why it is as it is
//!
//! - No finalizer: nothing in AWS has to be deleted, and owner references do the rest.
//! - Targets are watched by metadata, selected by label. Their content is known by version: read once at the start, then
//!   after each own write; another version is read again.
//! - A replacement carries uid and resourceVersion, a creation is a `create`: another writer's change is never overwritten.
//! - Of two records of one fact the API server's counts: an answer that differs from what was sent is a finding.
//! - Only the replica that holds the Lease writes; the guard is below every client, so that no write can bypass it.
//! - Text in a status is stable and bounded, so a repeated failure is written once.

pub mod access;
pub mod api;
pub mod aws;
pub mod backoff;
pub mod certificate;
pub mod clock;
pub mod conditions;
pub mod config;
pub mod controller;
pub mod controllers;
pub mod error;
#[cfg(test)]
mod fixtures;
pub mod health;
pub mod kubernetes;
pub mod leader;
pub mod listener;
pub mod metrics;
pub mod probe;
pub mod rules;
pub mod server;
pub mod settings;
pub mod target;
pub mod tasks;
pub mod telemetry;
mod text;
pub mod verify;
