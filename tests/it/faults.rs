//! What the tests of faults share.

mod world;

pub use crate::ground::{install, role, source, started};
pub use world::*;
