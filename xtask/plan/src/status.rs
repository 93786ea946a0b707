//! CloudFormation's words as closed enums, with every question about them beside them.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A word that CloudFormation does not document.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{0}` is not a stack status that this program knows")]
pub struct UnknownStatus(pub String);

macro_rules! statuses {
    ($($variant:ident = $text:literal),* $(,)?) => {
        /// Status of a stack.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the variants are CloudFormation's documented words")]
        pub enum StackStatus { $($variant),* }

        impl StackStatus {
            /// Every status.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// CloudFormation's word.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }

        impl FromStr for StackStatus {
            type Err = UnknownStatus;
            fn from_str(text: &str) -> Result<Self, UnknownStatus> {
                match text { $($text => Ok(Self::$variant),)* other => Err(UnknownStatus(other.to_owned())) }
            }
        }
    };
}

statuses! {
    CreateInProgress = "CREATE_IN_PROGRESS",
    CreateFailed = "CREATE_FAILED",
    CreateComplete = "CREATE_COMPLETE",
    RollbackInProgress = "ROLLBACK_IN_PROGRESS",
    RollbackFailed = "ROLLBACK_FAILED",
    RollbackComplete = "ROLLBACK_COMPLETE",
    DeleteInProgress = "DELETE_IN_PROGRESS",
    DeleteFailed = "DELETE_FAILED",
    DeleteComplete = "DELETE_COMPLETE",
    UpdateInProgress = "UPDATE_IN_PROGRESS",
    UpdateCompleteCleanupInProgress = "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
    UpdateComplete = "UPDATE_COMPLETE",
    UpdateFailed = "UPDATE_FAILED",
    UpdateRollbackInProgress = "UPDATE_ROLLBACK_IN_PROGRESS",
    UpdateRollbackFailed = "UPDATE_ROLLBACK_FAILED",
    UpdateRollbackCompleteCleanupInProgress = "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
    UpdateRollbackComplete = "UPDATE_ROLLBACK_COMPLETE",
    ReviewInProgress = "REVIEW_IN_PROGRESS",
    ImportInProgress = "IMPORT_IN_PROGRESS",
    ImportComplete = "IMPORT_COMPLETE",
    ImportRollbackInProgress = "IMPORT_ROLLBACK_IN_PROGRESS",
    ImportRollbackFailed = "IMPORT_ROLLBACK_FAILED",
    ImportRollbackComplete = "IMPORT_ROLLBACK_COMPLETE",
}

impl fmt::Display for StackStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl StackStatus {
    /// Whether CloudFormation is still at work. A reviewed stack waits for a person, not for work.
    pub fn is_in_progress(self) -> bool {
        self.as_str().ends_with("_IN_PROGRESS") && self != Self::ReviewInProgress
    }

    /// Whether the last create or update took effect.
    pub fn is_deployed(self) -> bool {
        matches!(
            self,
            Self::CreateComplete
                | Self::UpdateComplete
                | Self::UpdateCompleteCleanupInProgress
                | Self::ImportComplete
        )
    }

    /// What a deployment does with a stack in this state.
    pub fn next_step(status: Option<Self>) -> StackStep {
        use StackStatus as S;
        let Some(status) = status else { return StackStep::Create };
        match status {
            S::DeleteComplete | S::ReviewInProgress => StackStep::Create,
            S::RollbackComplete | S::CreateFailed | S::RollbackFailed | S::DeleteFailed => {
                StackStep::DeleteFirst
            }
            S::CreateComplete
            | S::UpdateComplete
            | S::UpdateRollbackComplete
            | S::UpdateFailed
            | S::ImportComplete
            | S::ImportRollbackComplete => StackStep::Update,
            S::UpdateRollbackFailed | S::ImportRollbackFailed => StackStep::ContinueRollback,
            S::CreateInProgress
            | S::RollbackInProgress
            | S::DeleteInProgress
            | S::UpdateInProgress
            | S::UpdateCompleteCleanupInProgress
            | S::UpdateRollbackInProgress
            | S::UpdateRollbackCompleteCleanupInProgress
            | S::ImportInProgress
            | S::ImportRollbackInProgress => StackStep::Attach,
        }
    }
}

/// Whether a resource of a stack in `status`, CloudFormation's word, is there and was made by it.
/// One whose creation failed is somebody else's when its name was taken.
pub fn resource_is_made(status: &str) -> bool {
    !matches!(status, "CREATE_IN_PROGRESS" | "CREATE_FAILED" | "DELETE_COMPLETE" | "DELETE_SKIPPED")
}

/// What a deployment does with a stack, from its state alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StackStep {
    /// Make it.
    Create,
    /// Change it.
    Update,
    /// A failed creation left a stack that can only be deleted.
    DeleteFirst,
    /// Someone's operation is at work; wait for its end, then decide again.
    Attach,
    /// A failed rollback has to be continued by hand.
    ContinueRollback,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_survives_its_own_word() {
        for &status in StackStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        assert_eq!("SLEEPING".parse::<StackStatus>(), Err(UnknownStatus("SLEEPING".to_owned())));
    }

    #[test]
    fn a_deployment_waits_for_whatever_is_in_progress_and_for_nothing_else() {
        for &status in StackStatus::ALL {
            assert_eq!(
                StackStatus::next_step(Some(status)) == StackStep::Attach,
                status.is_in_progress(),
                "{status}"
            );
        }
    }
}
