//! Errors with what to do about them, and the one place that knows which errors have hints.

use std::fmt;

use anyhow::Error;
use steppe_aws::AwsError;
use steppe_plan::deploy::Refusal;
use steppe_plan::elf::ElfError;
use steppe_plan::events::words::DISK_IS_FULL;
use steppe_plan::runs::PromotionError;
use steppe_spec::Problems;
use steppe_wire::hint::parts;

/// What happened, and what to do about it.
#[derive(Debug)]
pub struct Hinted {
    message: String,
    hints: Vec<String>,
    source: Option<Error>,
}

impl Hinted {
    /// An error with a hint.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hints: vec![hint.into()], source: None }
    }

    /// An error with any number of hints.
    pub fn with(message: impl Into<String>, hints: Vec<String>) -> Self {
        Self { message: message.into(), hints, source: None }
    }

    /// What a process, or a service on behalf of one, told of an error as a text.
    pub fn of_process(text: &str) -> Self {
        let (message, hints) = parts(text.trim().trim_start_matches("error: "));
        Self { message, hints, source: None }
    }

    /// The same with another hint.
    pub fn and(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The same with what caused it.
    pub fn because(mut self, source: impl Into<Error>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Hinted {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as &(dyn std::error::Error + 'static))
    }
}

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
        self.map_err(|source| hinted().because(source).into())
    }
}

/// What to do about an error: the hints of it and of its causes, outermost first.
pub fn hints_of(error: &Error) -> Vec<String> {
    let mut hints: Vec<String> = Vec::new();
    for cause in error.chain() {
        if let Some(hinted) = cause.downcast_ref::<Hinted>() {
            hints.extend(hinted.hints.iter().cloned());
        }
        if let Some(problems) = cause.downcast_ref::<Problems>() {
            hints.extend(problems.hints());
        }
        let refusal = cause.downcast_ref::<Refusal>().map(Refusal::hint);
        let call = cause.downcast_ref::<AwsError>().and_then(of_call).map(str::to_owned);
        let elf = cause.downcast_ref::<ElfError>().and_then(ElfError::hint).map(str::to_owned);
        let model = cause.downcast_ref::<PromotionError>().map(|e| e.hint().to_owned());
        let disk = cause.downcast_ref::<std::io::Error>().and_then(of_disk).map(str::to_owned);
        hints.extend([refusal, call, elf, model, disk].into_iter().flatten());
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
