//! The one place that knows which errors have hints.

use anyhow::Error;
use steppe_aws::AwsError;
use steppe_model::{DataError, TrainError};
use steppe_plan::deploy::Refusal;
use steppe_plan::elf::ElfError;
use steppe_plan::events::words::DISK_IS_FULL;
use steppe_plan::runs::PromotionError;
use steppe_spec::Problems;
use steppe_wire::hint::{self, Hinted};

/// Says what could not be done and what to do about it.
pub trait OrHint<T> {
    /// The value, or the error of `hinted` with what caused it.
    fn or_hint(self, hinted: impl FnOnce() -> Hinted) -> anyhow::Result<T>;
}

impl<T> OrHint<T> for Option<T> {
    fn or_hint(self, hinted: impl FnOnce() -> Hinted) -> anyhow::Result<T> {
        self.ok_or_else(|| hinted().into())
    }
}

impl<T, E: Into<Error>> OrHint<T> for Result<T, E> {
    fn or_hint(self, hinted: impl FnOnce() -> Hinted) -> anyhow::Result<T> {
        self.map_err(|source| hinted().because(boxed(source)).into())
    }
}

/// An error that is still known by its type, so that its hints are found.
pub fn boxed(error: impl Into<Error>) -> Box<dyn std::error::Error + Send + Sync> {
    error.into().reallocate_into_boxed_dyn_error_without_backtrace()
}

/// What to do about an error: the hints of it and of its causes, outermost first.
pub fn hints_of(error: &Error) -> Vec<String> {
    let mut hints: Vec<String> = Vec::new();
    for cause in error.chain() {
        hints.extend(hint::hints_of(cause));
        if let Some(problems) = cause.downcast_ref::<Problems>() {
            hints.extend(problems.hints());
        }
        let refusal = cause.downcast_ref::<Refusal>().map(Refusal::hint);
        let call = cause.downcast_ref::<AwsError>().and_then(of_call).map(str::to_owned);
        let elf = cause.downcast_ref::<ElfError>().and_then(ElfError::hint).map(str::to_owned);
        let promotion = cause.downcast_ref::<PromotionError>().map(|e| e.hint().to_owned());
        let data = cause.downcast_ref::<DataError>().and_then(DataError::hint).map(str::to_owned);
        let training =
            cause.downcast_ref::<TrainError>().and_then(TrainError::hint).map(str::to_owned);
        let disk = cause.downcast_ref::<std::io::Error>().and_then(of_disk).map(str::to_owned);
        hints.extend([refusal, call, elf, promotion, data, training, disk].into_iter().flatten());
    }
    hints.dedup();
    hints
}

/// Whether words of the embedded cloud, which has no other way to say it, tell of a full disk.
pub fn tells_of_a_full_disk(text: &str) -> bool {
    text.contains("No space left on device") || text.contains("Disk quota exceeded")
}

fn of_call(error: &AwsError) -> Option<&'static str> {
    if tells_of_a_full_disk(&error.message) { Some(DISK_IS_FULL) } else { error.hint() }
}

/// What to do about a disk that does not take what is written, or a folder that must not be read.
fn of_disk(error: &std::io::Error) -> Option<&'static str> {
    use std::io::ErrorKind as K;
    match error.kind() {
        K::StorageFull | K::QuotaExceeded => Some(DISK_IS_FULL),
        K::ReadOnlyFilesystem | K::PermissionDenied => Some(
            "nothing can be written there: STEPPE_DIR names another folder for what is made here",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn hints_are_found_wherever_in_the_chain_they_are() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let inner: anyhow::Result<()> = Err(full).or_hint(|| Hinted::new("inner", "do this"));
        let error = inner.context("outer").or_hint(|| Hinted::new("outermost", "do that"));
        let error = error.expect_err("an error").context("once more");
        assert_eq!(hints_of(&error), ["do that", "do this", DISK_IS_FULL]);
        let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
        assert_eq!(chain[..4], ["once more", "outermost", "outer", "inner"]);
    }

    #[test]
    fn a_process_tells_its_hints_behind_its_message() {
        let error = Error::new(Hinted::of_process("error: line 3\nis odd\nhint: mend it\n"));
        assert_eq!(
            (error.to_string(), hints_of(&error)),
            ("line 3\nis odd".into(), vec!["mend it".to_owned()])
        );
    }
}
