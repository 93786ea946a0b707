//! Why a training ended without a model.

use thiserror::Error;

use crate::rows::RowsError;

/// Why a model could not be trained.
#[derive(Debug, Error)]
pub enum TrainError {
    /// No series is long enough for one window.
    #[error(
        "no series is long enough: `{series}` is the longest with {length} values, but a window and \
         its horizon need {needed}"
    )]
    TooShort {
        /// The longest series.
        series: String,
        /// Its length.
        length: usize,
        /// The length needed.
        needed: usize,
    },
    /// Too little data for the backtest.
    #[error(
        "no series is long enough for a backtest: the longest has {longest} values; {origins} \
         origins, {stride} periods apart, need {needed}"
    )]
    TooFewForBacktest {
        /// Origins asked for.
        origins: usize,
        /// Periods between them.
        stride: usize,
        /// Length of the longest series.
        longest: usize,
        /// The length needed.
        needed: usize,
    },
    /// The tree library refused.
    #[error("the trees could not be grown: {0}")]
    Trees(String),
    /// What came out breaks an invariant, for example a number beyond the range of numbers.
    #[error("what was trained cannot be used: {0}")]
    Unusable(String),
    /// A check found that the answer leaks into what models see.
    #[error("the data leak the answer: {0}")]
    Leak(String),
    /// Rows cannot be learnt from.
    #[error("{0}")]
    Rows(#[from] RowsError),
}

impl TrainError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::TooFewForBacktest { .. } => {
                Some("fewer `origins` in `[backtest]` of the manifest need fewer values")
            }
            Self::Rows(error) => error.hint(),
            Self::TooShort { .. } | Self::Trees(_) | Self::Unusable(_) | Self::Leak(_) => None,
        }
    }
}
