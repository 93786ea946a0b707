//! How functions fail, as far as state machines are concerned.

use std::fmt;

/// Why a function failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The same call may succeed later.
    Retryable(String),
    /// The same call will fail again.
    Permanent(String),
}

impl Failure {
    /// The `errorType` that the state machine's retriers and catchers match.
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::Retryable(_) => "RetryableError",
            Self::Permanent(_) => "PermanentError",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Retryable(message) | Self::Permanent(message)) = self;
        f.write_str(message)
    }
}

impl std::error::Error for Failure {}
