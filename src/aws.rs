//! What the operator knows of AWS: snapshots of certificates, kept up to date by polling.
//!
//! ```text
//!  reconcile ── subscribe, get ──► cache ◄── record ── poller of each scope ──► rate limiter ──► API Gateway
//!      ▲                             │
//!      └── wake: what has changed ───┘
//! ```
//!
//! A scope is a region as one identity sees it. [`scope`] decides what is due and what an answer changes, and is pure;
//! [`cache`] makes the calls; [`rate_limit`] says when a call may start.

pub mod cache;
pub mod rate_limit;
pub mod scope;
