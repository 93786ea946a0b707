//! How a verb ends, as an exit code that scripts can rely on, and how errors are printed.

use std::process::ExitCode;

use steppe_aws::AwsError;
use steppe_plan::deploy::Refusal;

use crate::terminal::{err, lost, shown, shown_lines};

/// How a verb ended. The numbers are documented in docs/cli.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did what was asked.
    Done,
    /// A check found something: a failed smoke test, something left behind.
    Found,
    /// A person must agree first.
    NeedsApproval,
    /// The deployment failed and was rolled back.
    RolledBack,
    /// The stack is in a state that needs a decision.
    Wedged,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Done => 0,
            // 1 is an error, 2 is clap's code for wrong usage.
            Outcome::Found => 3,
            Outcome::NeedsApproval => 4,
            Outcome::RolledBack => 5,
            Outcome::Wedged => 6,
        })
    }
}

/// The exit code of a verb that came to its end.
pub fn with(outcome: Outcome) -> ExitCode {
    match lost() {
        None => outcome.into(),
        Some(why) => {
            err(&format!("error: the result could not be written: {why}"));
            ExitCode::from(1)
        }
    }
}

/// What to do about a full disk.
pub const DISK_IS_FULL: &str =
    "the disk is full: make room, then repeat the command, it continues where it stopped";

/// Whether words of the embedded cloud, which has no other way to say it, tell of a full disk.
pub fn tells_of_a_full_disk(text: &str) -> bool {
    text.contains("No space left on device") || text.contains("Disk quota exceeded")
}

/// What to do about a disk that does not take what is written, or a folder that must not be read.
fn disk_hint(error: &std::io::Error) -> Option<&'static str> {
    use std::io::ErrorKind as K;
    match error.kind() {
        K::StorageFull | K::QuotaExceeded => Some(DISK_IS_FULL),
        K::ReadOnlyFilesystem | K::PermissionDenied => Some(
            "nothing can be written there: STEPPE_DIR names another folder for what is made here",
        ),
        _ => None,
    }
}

/// Prints an error with its causes, hints last.
pub fn report(error: &anyhow::Error) -> ExitCode {
    let mut hints: Vec<String> = Vec::new();
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        let (lines, own): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|l| !l.starts_with("hint: "));
        hints.extend(own.iter().map(|h| h.trim_start_matches("hint: ").to_owned()));
        let call = cause.downcast_ref::<AwsError>();
        let of_call = match call {
            Some(error) if tells_of_a_full_disk(&error.message) => Some(DISK_IS_FULL),
            other => other.and_then(AwsError::hint),
        };
        hints.extend(of_call.map(str::to_owned));
        hints.extend(cause.downcast_ref::<Refusal>().map(Refusal::hint));
        let disk = cause.downcast_ref::<std::io::Error>().and_then(disk_hint);
        hints.extend(disk.map(str::to_owned));
        parts.push(lines.join("\n"));
    }
    err(&format!("error: {}", shown_lines(&parts.join(": "))));
    hints.dedup();
    hints.iter().for_each(|hint| err(&format!("hint: {}", shown(hint))));
    ExitCode::from(1)
}
