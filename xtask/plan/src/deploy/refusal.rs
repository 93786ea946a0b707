//! What must not be done at all, and what to do about it.

use thiserror::Error;

use crate::status::StackStatus;

/// Why there is no plan: every step would touch what is not ours, or cannot succeed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Somebody else owns the bucket of that name.
    #[error("the bucket {bucket} belongs to another account")]
    ForeignBucket {
        /// The bucket.
        bucket: String,
    },
    /// The bucket is the account's, but neither the stack's nor tagged as this deployment's.
    #[error(
        "the bucket {bucket} is there ({objects} objects), but this deployment has not made it: it \
         neither belongs to the stack {stack} nor carries its tags"
    )]
    UnknownBucket {
        /// The bucket.
        bucket: String,
        /// The stack.
        stack: String,
        /// Objects in it.
        objects: u64,
    },
    /// The data bucket outlived its stack, which cannot take it back.
    #[error(
        "the bucket {bucket} is left from an earlier stack ({objects} objects), and a new stack \
         cannot make it again"
    )]
    LeftBucket {
        /// The bucket.
        bucket: String,
        /// Objects in it.
        objects: u64,
    },
    /// The stack of that name belongs to another deployment.
    #[error("the stack {stack} belongs to another deployment: {why}")]
    StrangeStack {
        /// The stack.
        stack: String,
        /// What tells.
        why: String,
    },
    /// The stack must be deleted, and is protected against it.
    #[error("the stack {stack} ({status}) cannot be deleted: its termination protection is on")]
    Protected {
        /// The stack.
        stack: String,
        /// Its status.
        status: StackStatus,
    },
}

impl Refusal {
    /// What to do.
    pub fn hint(&self) -> String {
        match self {
            Self::ForeignBucket { .. } => "names of buckets are global; choose another name for \
                the project or the environment in `steppe.toml`"
                .to_owned(),
            Self::UnknownBucket { bucket, .. } => format!(
                "choose another name for the project or the environment in `steppe.toml`, or look \
                 at {bucket} and delete it yourself"
            ),
            Self::LeftBucket { .. } => {
                "`cargo xtask destroy` empties and deletes it; copy what you \
                want to keep before"
                    .to_owned()
            }
            Self::StrangeStack { .. } => {
                "choose another name for the project, the pipeline or the \
                environment"
                    .to_owned()
            }
            Self::Protected { stack, .. } => format!(
                "`aws cloudformation update-termination-protection --stack-name {stack} \
                 --no-enable-termination-protection`"
            ),
        }
    }
}
