//! Integration tests: one binary, so that they share one control plane.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // here a broken assumption is a failed test

mod accounts;
mod additional;
mod architecture;
mod aws_cache;
mod aws_gateway;
mod chart;
mod contract;
mod description;
mod emulator;
mod faults;
mod fixture;
mod gateway_errors;
mod generated;
mod ground;
mod harness;
mod image;
mod install;
mod licences;
mod model;
mod observe;
mod process;
mod release;
mod replicas;
mod resilience;
mod restart;
mod samples;
mod scale;
mod schema;
mod servers;
mod small_world;
mod status;
mod targets;
mod upgrade;
mod verify;
mod workflows;
