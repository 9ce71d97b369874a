//! Integration tests: one binary, so that they share one control plane.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // here a broken assumption is a failed test

mod aws_gateway;
mod contract;
mod emulator;
mod fixture;
mod generated;
mod harness;
mod schema;
mod status;
mod targets;
