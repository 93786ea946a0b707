//! How functions fail, as far as state machines are concerned.

use std::error::Error;
use std::fmt;

use crate::hint::Hinted;
use crate::text::shown_at_most;

/// Characters of an error and of a hint: they go into logs and mails.
const CHARS_MAX: usize = 2_000;

/// Why a function failed.
#[derive(Debug)]
pub enum Failure {
    /// The same call may succeed later.
    Retryable(Hinted),
    /// The same call will fail again.
    Permanent(Hinted),
}

impl Failure {
    /// What the same call may succeed at later.
    pub fn retryable(why: impl Into<Hinted>) -> Self {
        Self::Retryable(why.into())
    }

    /// What the same call will fail at again.
    pub fn permanent(why: impl Into<Hinted>) -> Self {
        Self::Permanent(why.into())
    }

    /// The `errorType` that the state machine's retriers and catchers match.
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::Retryable(_) => "RetryableError",
            Self::Permanent(_) => "PermanentError",
        }
    }

    /// The `errorMessage`. Lambda has no field for what to do about an error, so hints are lines of
    /// it. Names in it are others' to choose: no line has anything that a terminal would act on.
    pub fn error_message(&self) -> String {
        self.why().told(|line| shown_at_most(line, CHARS_MAX).into_owned())
    }

    fn why(&self) -> &Hinted {
        let (Self::Retryable(why) | Self::Permanent(why)) = self;
        why
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why().fmt(f)
    }
}

impl Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_stands_on_a_line_of_its_own() {
        let failure = Failure::permanent(Hinted::new("a\nb is odd", "mend it"));
        assert_eq!(failure.error_message(), "a\\u{a}b is odd\nhint: mend it");
        assert_eq!(failure.error_type(), "PermanentError");
    }
}
