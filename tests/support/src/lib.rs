//! What the tests, the demo and the benchmark stand on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // here a broken assumption is a failed test

pub mod certificates;
pub mod contract;
pub mod emulator;
pub mod http;
pub mod memory_gateway;
pub mod script;
