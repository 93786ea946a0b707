//! The services' words as closed enums, with every question about them beside them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// A word that its service does not document.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("`{0}` is not a status that this program knows")]
pub struct UnknownStatus(pub String);

macro_rules! statuses {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the variants are the service's documented words")]
        pub enum $name { $($variant),* }

        impl $name {
            /// Every status.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The service's word.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }

        impl FromStr for $name {
            type Err = UnknownStatus;
            fn from_str(text: &str) -> Result<Self, UnknownStatus> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    other => Err(UnknownStatus(other.to_owned())),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let word = String::deserialize(from)?;
                word.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

statuses! {
    /// Status of a stack.
    StackStatus {
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
}

statuses! {
    /// Status of a resource of a stack.
    ResourceStatus {
        CreateInProgress = "CREATE_IN_PROGRESS",
        CreateFailed = "CREATE_FAILED",
        CreateComplete = "CREATE_COMPLETE",
        DeleteInProgress = "DELETE_IN_PROGRESS",
        DeleteFailed = "DELETE_FAILED",
        DeleteComplete = "DELETE_COMPLETE",
        DeleteSkipped = "DELETE_SKIPPED",
        UpdateInProgress = "UPDATE_IN_PROGRESS",
        UpdateFailed = "UPDATE_FAILED",
        UpdateComplete = "UPDATE_COMPLETE",
        ImportInProgress = "IMPORT_IN_PROGRESS",
        ImportFailed = "IMPORT_FAILED",
        ImportComplete = "IMPORT_COMPLETE",
        ImportRollbackInProgress = "IMPORT_ROLLBACK_IN_PROGRESS",
        ImportRollbackFailed = "IMPORT_ROLLBACK_FAILED",
        ImportRollbackComplete = "IMPORT_ROLLBACK_COMPLETE",
        ExportInProgress = "EXPORT_IN_PROGRESS",
        ExportFailed = "EXPORT_FAILED",
        ExportComplete = "EXPORT_COMPLETE",
        ExportRollbackInProgress = "EXPORT_ROLLBACK_IN_PROGRESS",
        ExportRollbackFailed = "EXPORT_ROLLBACK_FAILED",
        ExportRollbackComplete = "EXPORT_ROLLBACK_COMPLETE",
        RollbackInProgress = "ROLLBACK_IN_PROGRESS",
        RollbackFailed = "ROLLBACK_FAILED",
        RollbackComplete = "ROLLBACK_COMPLETE",
        UpdateRollbackInProgress = "UPDATE_ROLLBACK_IN_PROGRESS",
        UpdateRollbackFailed = "UPDATE_ROLLBACK_FAILED",
        UpdateRollbackComplete = "UPDATE_ROLLBACK_COMPLETE",
    }
}

statuses! {
    /// Status of an execution of a state machine.
    ExecutionStatus {
        Running = "RUNNING",
        Succeeded = "SUCCEEDED",
        Failed = "FAILED",
        TimedOut = "TIMED_OUT",
        Aborted = "ABORTED",
        PendingRedrive = "PENDING_REDRIVE",
    }
}

impl ExecutionStatus {
    /// Whether it ended, and not as it should.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut | Self::Aborted)
    }
}

/// What happened to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Happened {
    /// Something has begun or goes on.
    Begun,
    /// It was made.
    Created,
    /// It was changed.
    Updated,
    /// It was deleted.
    Deleted,
    /// It was left where it is, as its template says.
    Kept,
    /// It failed.
    Failed,
    /// Anything else, such as the end of an import.
    Other,
}

impl ResourceStatus {
    /// What an event with this status tells.
    pub fn happened(self) -> Happened {
        match self {
            Self::CreateInProgress
            | Self::DeleteInProgress
            | Self::UpdateInProgress
            | Self::ImportInProgress
            | Self::ImportRollbackInProgress
            | Self::ExportInProgress
            | Self::ExportRollbackInProgress
            | Self::RollbackInProgress
            | Self::UpdateRollbackInProgress => Happened::Begun,
            Self::CreateComplete => Happened::Created,
            Self::UpdateComplete => Happened::Updated,
            Self::DeleteComplete => Happened::Deleted,
            Self::DeleteSkipped => Happened::Kept,
            Self::CreateFailed
            | Self::DeleteFailed
            | Self::UpdateFailed
            | Self::ImportFailed
            | Self::ImportRollbackFailed
            | Self::ExportFailed
            | Self::ExportRollbackFailed
            | Self::RollbackFailed
            | Self::UpdateRollbackFailed => Happened::Failed,
            Self::ImportComplete
            | Self::ImportRollbackComplete
            | Self::ExportComplete
            | Self::ExportRollbackComplete
            | Self::RollbackComplete
            | Self::UpdateRollbackComplete => Happened::Other,
        }
    }

    /// Whether the resource is there and was made by its stack. One whose creation failed is
    /// somebody else's when its name was taken.
    pub fn is_made(self) -> bool {
        !matches!(
            self,
            Self::CreateInProgress
                | Self::CreateFailed
                | Self::DeleteComplete
                | Self::DeleteSkipped
        )
    }
}

impl StackStatus {
    /// Whether CloudFormation is still at work. A reviewed stack waits for a person, not for work.
    pub fn is_in_progress(self) -> bool {
        matches!(
            self,
            Self::CreateInProgress
                | Self::RollbackInProgress
                | Self::DeleteInProgress
                | Self::UpdateInProgress
                | Self::UpdateCompleteCleanupInProgress
                | Self::UpdateRollbackInProgress
                | Self::UpdateRollbackCompleteCleanupInProgress
                | Self::ImportInProgress
                | Self::ImportRollbackInProgress
        )
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
        for &status in ResourceStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
            let goes_on = status.as_str().ends_with("_IN_PROGRESS");
            assert_eq!(status.happened() == Happened::Begun, goes_on, "{status}");
            let failed = status.as_str().ends_with("_FAILED");
            assert_eq!(status.happened() == Happened::Failed, failed, "{status}");
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
