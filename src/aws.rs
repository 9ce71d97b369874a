//! All calls to AWS, and their results: snapshots of certificates and of what stages present, kept up to date by polling.
//!
//! ```text
//!  reconcile ── subscribe, get ──► cache ◄── record ── poller of each scope ──► rate limiter ──► API Gateway
//!      ▲                             │
//!      └── wake: what has changed ───┘
//! ```
//!
//! A scope is a region as one identity sees it. [`scope`] decides what is due and what an answer changes, and is pure;
//! [`cache`] makes the calls; [`rate_limit`] decides when a call may start. [`gateway`] is the interface: requests,
//! responses, errors. [`client`] implements it, and [`answer`] checks the responses.

pub mod answer;
pub mod cache;
pub mod client;
pub mod gateway;
pub mod rate_limit;
pub mod scope;
