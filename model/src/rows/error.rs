//! Why rows could not be learnt from, or what was stored of them not be used.

use thiserror::Error;

/// Why something about rows could not be done.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum RowsError {
    /// A fold, or a part of a split, would be without a class.
    #[error("class {class} has {rows} rows, too few for {parts} parts that each need one")]
    FewerThanParts {
        /// The class's number.
        class: usize,
        /// Its rows.
        rows: usize,
        /// Folds or parts.
        parts: usize,
    },
    /// A split leaves a part without rows.
    #[error("{what}")]
    Split {
        /// What happened.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// An option that does not fit the rows.
    #[error("{what}")]
    Setting {
        /// What happened.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// A value that a family cannot take.
    #[error("row {row} has {value} in column {column}, and {family} needs finite numbers")]
    NotFinite {
        /// Who needs it.
        family: &'static str,
        /// The row.
        row: usize,
        /// The prepared column.
        column: usize,
        /// What is there.
        value: f64,
    },
    /// The target, the weights or the shape do not fit.
    #[error("{0}")]
    Unsuitable(String),
    /// The equations have no solution, or it was not found.
    #[error("{family} found no coefficients: {why}")]
    NoSolution {
        /// Who looked.
        family: &'static str,
        /// What stood in the way.
        why: String,
    },
    /// A wish that no threshold fulfils.
    #[error("no threshold reaches {wish} {wanted}: the best one reaches {best:.4}")]
    Unreachable {
        /// Of what.
        wish: &'static str,
        /// How much was wished for.
        wanted: f64,
        /// How much there is.
        best: f64,
    },
    /// What was stored cannot be followed.
    #[error("{what} cannot be used: {why}")]
    Stored {
        /// What.
        what: &'static str,
        /// Why not.
        why: String,
    },
    /// The tree library refused.
    #[error("the trees could not be grown: {0}")]
    Trees(String),
}

impl RowsError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::FewerThanParts { .. } => Some("fewer folds, or more rows of the class"),
            Self::Split { hint, .. } | Self::Setting { hint, .. } => Some(hint),
            Self::NotFinite { .. } => Some("fill what is missing, or leave its rows out"),
            Self::NoSolution { .. } => Some("a larger penalty always has some"),
            Self::Unreachable { .. } => Some("wish for less in `threshold` of the task"),
            _ => None,
        }
    }

    /// A stored thing that cannot be followed.
    pub fn stored(what: &'static str, why: impl Into<String>) -> Self {
        Self::Stored { what, why: why.into() }
    }
}
