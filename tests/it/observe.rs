//! The operator's output: metrics, traces, log, events, and the health that Argo CD, Flux and Helm compute from its
//! statuses.

mod collector;
mod events;
mod logs;
mod metrics;
mod ports;
mod statuses;
mod traces;
