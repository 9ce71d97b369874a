//! The cached resource.

mod watched;

pub use watched::{Glimpse, GlimpsedCertificate, Watched};
