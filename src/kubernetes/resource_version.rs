//! Which of two versions of one object is the older.

/// Whether a version was made before another. Versions of one object are numbers that grow; should they ever not be, a
/// store counts as caught up.
pub fn is_older(version: Option<&str>, than: &str) -> bool {
    match (version.map(str::parse::<u64>), than.parse::<u64>()) {
        (Some(Ok(version)), Ok(than)) => version < than,
        _ => false,
    }
}
