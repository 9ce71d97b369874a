//! The AWS cache makes few calls, with any number of resources and any failure, and none for a deleted resource. The
//! tests use the in-memory gateway with a paused clock, and HTTP with the real SDK.

mod failures;
mod fleet;
mod http;
mod load;
mod subscriptions;
