//! The controllers. Each has one concern and one key: the key of [`mirror`] is a resource, the key of [`description`] a
//! certificate.

pub mod description;
pub mod event;
pub mod mirror;
pub mod publish;
mod recorder;
