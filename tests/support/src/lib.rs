//! The common code of the tests, the demo and the benchmark.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // here a broken assumption is a failed test

pub mod backends;
pub mod cert_manager;
pub mod certificates;
pub mod contract;
pub mod control_plane;
pub mod emulator;
pub mod gateways;
pub mod go_programs;
pub mod http;
pub mod memory_gateway;
mod one_request;
pub mod operator;
pub mod private_ca;
pub mod program;
pub mod proxy;
pub mod reference;
pub mod sbom;
pub mod script;
pub mod servers;
pub mod tls_front;
pub mod wait;
