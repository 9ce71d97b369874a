//! Everything that speaks to AWS, and what the operator knows of it: snapshots of certificates, kept up to date by polling.
//!
//! ```text
//!  reconcile ── subscribe, get ──► cache ◄── record ── poller of each scope ──► rate limiter ──► API Gateway
//!      ▲                             │
//!      └── wake: what has changed ───┘
//! ```
//!
//! A scope is a region as one identity sees it. [`scope`] decides what is due and what an answer changes, and is pure;
//! [`cache`] makes the calls; [`rate_limit`] says when a call may start. [`gateway`] is the seam: what is asked, what comes
//! back, how it can fail. [`client`] is behind it, and [`answer`] checks what came.

pub mod answer;
pub mod cache;
pub mod client;
pub mod gateway;
pub mod rate_limit;
pub mod scope;
