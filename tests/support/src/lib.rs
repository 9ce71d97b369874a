//! What the tests stand on.
pub mod control_plane;
mod http;
pub mod operator;
pub mod program;
pub mod proxy;
pub mod wait;
