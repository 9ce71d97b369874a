//! What the tests stand on.
mod http;
pub mod program;
pub mod wait;
