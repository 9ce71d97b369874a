//! Compares two versions of one object.

/// Whether a version is older than another. The versions of one object are growing numbers. If they ever are not, no
/// version counts as older, and a store counts as up to date.
pub fn is_older(version: Option<&str>, than: &str) -> bool {
    match (version.map(str::parse::<u64>), than.parse::<u64>()) {
        (Some(Ok(version)), Ok(than)) => version < than,
        _ => false,
    }
}
