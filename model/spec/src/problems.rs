//! TOML with errors that people can act on: file, line, column, and a suggestion for a misspelt
//! key.

use std::fmt;

use serde::de::DeserializeOwned;
use toml::de::DeTable;

/// One thing that is wrong with a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `model/pipelines/marriages/pipeline.toml:12:3`, or the file alone.
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// Everything that is wrong, reported at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            let separator = if i > 0 { "\n" } else { "" };
            write!(f, "{separator}{}: {}", problem.place, problem.message)?;
        }
        Ok(())
    }
}

impl Problems {
    /// What to do about them; of several, each with the place that it is about.
    pub fn hints(&self) -> Vec<String> {
        let several = self.0.len() > 1;
        let hint = |problem: &Problem| {
            let hint = problem.hint.as_ref()?;
            Some(if several { format!("{}: {hint}", problem.place) } else { hint.clone() })
        };
        self.0.iter().filter_map(hint).collect()
    }
}

/// Parses `text`, the content of `file`.
pub fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Problems> {
    toml::from_str(text).map_err(|error| {
        let (_, mut errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            errors.push(error);
        }
        Problems(errors.iter().map(|error| problem(file, text, error)).collect())
    })
}

fn problem(file: &str, text: &str, error: &toml::de::Error) -> Problem {
    let place = match error.span() {
        Some(span) => format!("{file}:{}", line_and_column(text, span.start)),
        None => file.to_owned(),
    };
    let message = error.message().lines().next().unwrap_or("not readable").to_owned();
    Problem { place, hint: suggestion(&message), message }
}

pub(crate) fn line_and_column(text: &str, offset: usize) -> String {
    let before = &text[..offset.min(text.len())];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    format!("{}:{}", before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// For serde's ``unknown field `x`, expected one of `a`, `b` ``: the known name nearest to `x`.
fn suggestion(message: &str) -> Option<String> {
    let rest = message
        .strip_prefix("unknown field ")
        .or_else(|| message.strip_prefix("unknown variant "))?;
    let names: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    let (unknown, known) = names.split_first()?;
    nearest(unknown, known.iter().copied()).map(|name| format!("did you mean `{name}`?"))
}

/// The candidate most like `word`, when one is alike at all.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = candidates
        .into_iter()
        .map(|c| (strsim::jaro_winkler(&word.to_lowercase(), &c.to_lowercase()), c));
    scored.filter(|(score, _)| *score > 0.75).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, c)| c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Example {
        #[expect(dead_code, reason = "only parsed")]
        horizon: u32,
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_place_and_a_suggestion() {
        let error =
            parse::<Example>("p.toml", "horizon = 1\n  horzion = 2\n").expect_err("unknown key");
        assert_eq!(error.to_string(), "p.toml:2:3: unknown field `horzion`, expected `horizon`");
        assert_eq!(error.hints(), ["did you mean `horizon`?"]);
    }

    #[test]
    fn a_wrong_type_is_named_with_its_place() {
        let error =
            parse::<Example>("p.toml", "horizon = \"x\"").expect_err("wrong type").to_string();
        assert!(error.starts_with("p.toml:1:11: invalid type: string \"x\""), "{error}");
    }
}
