//! What a detector refuses.

/// Options of which no detector can be made.
#[derive(Debug, thiserror::Error)]
pub enum AnomalyError {
    /// A count must be at least one.
    #[error("`{0}` must be at least 1")]
    Zero(&'static str),
    /// The forest's own reason.
    #[error("no random cut forest of {trees} trees with {capacity} values each")]
    Forest {
        /// Trees that were asked for.
        trees: usize,
        /// Values per tree that were asked for.
        capacity: usize,
        /// What the forest says.
        #[source]
        source: rcf3::RcfError,
    },
}

/// The first count that is zero, as an error.
pub(super) fn at_least_one(counts: &[(&'static str, usize)]) -> Result<(), AnomalyError> {
    match counts.iter().find(|(_, count)| *count == 0) {
        Some((name, _)) => Err(AnomalyError::Zero(name)),
        None => Ok(()),
    }
}
