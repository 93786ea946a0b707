//! Why a query failed, in Athena's words: `NAME: line 1:8: what`.

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use steppe_wire::query::{FailureKind, QueryFailure};

use super::statement::Select;

/// A failed query.
#[derive(Debug)]
pub struct Failed(String);

impl From<Failed> for QueryFailure {
    fn from(failed: Failed) -> Self {
        Self { kind: FailureKind::Failed, message: failed.0 }
    }
}

/// A statement that is refused before anything is read.
pub fn malformed(message: impl Into<String>) -> QueryFailure {
    QueryFailure { kind: FailureKind::Malformed, message: message.into() }
}

/// A statement that is SQL and cannot be run.
pub fn failed(message: impl Into<String>) -> QueryFailure {
    Failed(message.into()).into()
}

impl Failed {
    /// With Athena's name of the error.
    pub fn named(name: &str, message: impl std::fmt::Display) -> Self {
        Self(format!("{name}: {message}"))
    }

    /// Its words.
    pub fn into_message(self) -> String {
        self.0
    }

    /// Something that is not about the statement.
    pub fn other(error: anyhow::Error) -> Self {
        Self::named("GENERIC_INTERNAL_ERROR", format!("{error:#}"))
    }

    /// The result could not be stored.
    pub fn writing(error: std::io::Error) -> Self {
        Self::named("GENERIC_INTERNAL_ERROR", format!("writing the result failed: {error}"))
    }

    /// A store refused something.
    pub fn stored(error: &object_store::Error) -> Self {
        match error {
            object_store::Error::PermissionDenied { path, .. }
            | object_store::Error::Unauthenticated { path, .. } => {
                Self::named("PERMISSION_DENIED", format!("Access Denied: {path}"))
            }
            other => Self::named("GENERIC_INTERNAL_ERROR", other),
        }
    }

    /// While planning; names of columns are looked for in the statement.
    pub fn plan(error: DataFusionError, select: &Select) -> Self {
        let at = |name: &str| select.position_of(name);
        match error.find_root() {
            DataFusionError::SchemaError(schema, _) => match &**schema {
                SchemaError::FieldNotFound { field, .. } => {
                    let name = field.flat_name();
                    let what = format!(
                        "{}: Column '{name}' cannot be resolved or requester is not authorized to \
                         access requested resources",
                        at(&field.name)
                    );
                    Self::named("COLUMN_NOT_FOUND", what)
                }
                SchemaError::AmbiguousReference { field } => Self::named(
                    "AMBIGUOUS_NAME",
                    format!("{}: Column '{}' is ambiguous", at(&field.name), field.name),
                ),
                other => Self::named("SYNTAX_ERROR", first_line(&other.to_string())),
            },
            DataFusionError::Plan(message) => match message.split_once(": ") {
                Some((name, _)) if is_athenas(name) => Self(message.clone()),
                _ => Self::plan_text(message, select),
            },
            DataFusionError::Internal(message) => Self::plan_text(message, select),
            DataFusionError::NotImplemented(message) => {
                Self::named("NOT_SUPPORTED", first_line(message))
            }
            _ => Self::execution(error),
        }
    }

    fn plan_text(message: &str, select: &Select) -> Self {
        // An error of a function's types is in the text of another.
        if let Some((_, own)) = message.split_once("failed with: Error during planning: ") {
            return Self(first_line(own).trim_end_matches('.').to_owned());
        }
        if message.starts_with("Cannot create filter with non-boolean predicate") {
            let what = "line 1:1: WHERE clause must evaluate to a boolean";
            return Self::named("TYPE_MISMATCH", what);
        }
        let field = message.strip_prefix("Field ");
        if let Some((name, _)) = field.and_then(|rest| rest.split_once(" not found in struct")) {
            let at = select.position_of(name);
            let what = format!(
                "{at}: Column '{name}' cannot be resolved or requester is not authorized to access \
                 requested resources"
            );
            return Self::named("COLUMN_NOT_FOUND", what);
        }
        // What follows are the engine's own signatures.
        let function = message
            .split_once("failed to match any signature")
            .and_then(|(before, _)| before.split('\'').nth(1));
        match function {
            Some(name) => {
                let at = select.position_of(name);
                let what = format!("{at}: Unexpected parameters for function {name}");
                Self::named("FUNCTION_NOT_FOUND", what)
            }
            None => Self::named("SYNTAX_ERROR", first_line(message)),
        }
    }

    /// While executing.
    pub fn execution(error: DataFusionError) -> Self {
        let root = error.find_root();
        let text = root.strip_backtrace();
        let text = text.trim_start_matches("External error: ");
        match root {
            DataFusionError::ResourcesExhausted(_) => Self::named(
                "EXCEEDED_MEMORY_LIMIT",
                "Query exhausted resources at this scale factor",
            ),
            DataFusionError::ObjectStore(source) => Self::stored(source),
            DataFusionError::Plan(message) | DataFusionError::Execution(message)
                if message.split_once(": ").is_some_and(|(name, _)| is_athenas(name)) =>
            {
                Self(message.clone())
            }
            DataFusionError::NotImplemented(_) => {
                let what = "the embedded cloud does not implement this form of a query";
                Self::named("NOT_SUPPORTED", what)
            }
            _ if text.contains("Divide by zero") => {
                Self::named("DIVISION_BY_ZERO", "Division by zero")
            }
            _ if text.contains("Cannot cast") => {
                // The rest names the engine's types.
                let value = text.split('\'').nth(1).unwrap_or_default();
                Self::named("INVALID_CAST_ARGUMENT", format!("Cannot cast '{value}'"))
            }
            _ => Self::named("GENERIC_INTERNAL_ERROR", first_line(text)),
        }
    }
}

/// `TYPE_MISMATCH`: a message that has its name already.
fn is_athenas(name: &str) -> bool {
    name.contains('_') && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

/// The engine's second line suggests functions and columns of its own.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.split(" No function matches").next().unwrap_or(line).trim().to_owned()
}
