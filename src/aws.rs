//! All calls to AWS, and their results: snapshots of certificates and of stages, kept up to date by polling.
//!
//! ```text
//!  reconcile ── subscribe, get ──► cache ◄── record ── poller of each scope ──► rate limiter ──► API Gateway
//!      ▲                             │
//!      └── wake: what has changed ───┘
//! ```
//!
//! A scope is one region with the identity that reads it. [`scope`] decides which calls are due and what an answer
//! changes; it is pure. [`cache`] makes the calls, and [`rate_limit`] decides when a call may start. [`gateway`] is the
//! interface: requests, responses and errors. [`client`] implements the interface, and [`answer`] checks the responses.

pub mod answer;
pub mod cache;
pub mod client;
pub mod gateway;
pub mod rate_limit;
pub mod scope;
