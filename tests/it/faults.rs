//! The common code of the tests of faults.

mod world;

pub use crate::ground::{install, role, source, started};
pub use world::*;
