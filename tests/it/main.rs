//! Integration tests.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // how a test fails

mod harness;
