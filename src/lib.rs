//! client-certificate-operator mirrors Amazon API Gateway client certificates into Kubernetes.
//!
//! A [`ClientCertificateRef`](api::ClientCertificateRef) names a certificate, or a stage that presents one. The
//! operator reads the certificate from API Gateway and keeps its PEM in a Secret or ConfigMap in the namespace of the
//! resource. If the resource has `spec.description`, the operator keeps that description in API Gateway.
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
//! 1. **The status is the memory.** A decision needs the spec, the status, the target, and caches that can be rebuilt.
//!    A new process makes the same decisions as the former one. Backoffs and counters may be lost.
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
//! | [`kubernetes`], [`leader`] | client with deadlines and write guard, watches, and the stores that they fill; the election by the Lease |
//! | [`controller`] | composition: the events that wake a resource, the queue, the shutdown |
//! | [`rules`], [`access`] | what a namespace may use; which certificates and stages a resource may read |
//! | [`aws`] | snapshots of certificates and stages, the pollers that fill them, the rate limit; [`aws::client`] alone names the SDK |
//! | [`controllers::mirror`] | snapshot, plan, apply, status of one resource |
//! | [`controllers::description`] | which resource owns the description of a certificate, and when the description is sent |
//! | [`certificate`], [`target`] | PEM to X.509 facts; the desired object, the owner of an object, the differences |
//! | [`error`], [`backoff`] | classes of failures and the message for each; the wait after a failure |
//! | [`verify`], [`probe`] | the other commands |
//! | [`health`], [`listener`], [`server`], [`metrics`], [`telemetry`], [`tasks`], [`clock`] | probes, counters, log, supervision, the steady clock |
//!
//! `tests/it/architecture.rs` checks that the pure modules name no client, no SDK, no tokio and no clock.
//!
//! # The reasons for the design
//!
//! - No finalizer: the operator has nothing to delete in AWS, and the garbage collector deletes targets by their owner
//!   references.
//! - The operator watches the metadata of targets, selected by a label. It records the content of a target with its
//!   resourceVersion: from one full read at the start, and from each of its own writes. It reads a target with another
//!   resourceVersion again.
//! - A replacement carries uid and resourceVersion, and a creation is a `create`. Thus the operator never overwrites
//!   another writer's change.
//! - The API server's record of an object counts. A response that differs from the request is a finding.
//! - Only the replica that holds the Lease writes. The guard is below every client, so that no write can bypass it.
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
