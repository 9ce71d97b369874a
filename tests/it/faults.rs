//! What the tests of faults share.

mod world;

pub use world::*;
