//! What can be seen of the operator from outside: metrics, traces, log, events, and what Argo CD, Flux and Helm make of the
//! statuses that it writes.

mod collector;
mod events;
mod logs;
mod metrics;
mod ports;
mod statuses;
mod traces;
