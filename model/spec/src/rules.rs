//! Rules: which records and data are refused.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::column::{ColumnType, Columns};
use crate::tasks::Served;
use crate::tasks::forecast::{ForecastEntry, Spacing, Task};
use crate::transform::Transform;

/// Names of rules that options make.
pub(crate) const OWN_RULES: [&str; 6] =
    ["leave_out", "missing", "unique", "partial_period", "unreadable", "local_time"];

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Name of the rule: letters, digits and underscores.
    pub name: String,
    /// Column that it looks at, for messages; the first that `when` names when absent.
    pub column: Option<String>,
    /// SQL over the columns of the clean table that is true for a record that breaks it.
    pub when: String,
    /// What people are told.
    pub reason: String,
    /// What happens to such a record.
    pub action: Action,
}

/// What happens to a record that breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is set aside with the reason.
    Reject,
    /// The job stops before it writes anything.
    Fail,
}

/// What happens when a series is the sum of all others, so that sums count everything twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Total {
    /// The data are refused, until it is left out or meant.
    #[default]
    Fail,
    /// It is a series like the others, and told.
    Keep,
}

/// An incomplete newest period.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PartialPeriod {
    /// Share of the total one season before (of the year before for years), below which the newest
    /// period counts as incomplete.
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1))]
    pub below: f64,
    /// What happens to its records.
    #[serde(default = "reject")]
    pub action: Action,
}

fn reject() -> Action {
    Action::Reject
}

/// The first column that a condition names.
pub(crate) fn looked_at<'a>(when: &str, columns: &'a Columns) -> Option<&'a str> {
    let mut words = when.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.find_map(|word| columns.get(word)).map(|column| column.name.as_str())
}

/// Rules that follow from a task: what it needs of each record must be there.
pub(crate) fn default_rules(entry: Served<'_>, columns: &Columns) -> Vec<Rule> {
    match entry {
        Served::Forecast(entry) => rules_of_series(entry, columns),
        // A row without a target is asked about; one that says of nobody what it says cannot be.
        Served::Tabular(entry) => {
            let needed = entry.task.entity.iter().chain(&entry.task.time);
            let given = |column: &String| Rule {
                name: format!("{column}_given"),
                column: Some(column.clone()),
                when: format!("{column} IS NULL"),
                reason: format!("the {column} must not be empty"),
                action: Action::Fail,
            };
            needed.map(given).collect()
        }
    }
}

fn rules_of_series(entry: &ForecastEntry, columns: &Columns) -> Vec<Rule> {
    let Task { series, time, target, frequency, .. } = &entry.task;
    let rule = |column: &str, what: &str, when: String, reason: String| Rule {
        name: format!("{column}_{what}"),
        column: Some(column.to_owned()),
        when,
        reason,
        action: Action::Fail,
    };
    let (time_when, time_reason) = match frequency {
        Spacing::Yearly => (
            format!("{time} IS NULL OR {time} < 1000 OR {time} > 2999"),
            format!("the {time} must be a year"),
        ),
        _ => (format!("{time} IS NULL"), format!("the {time} must not be empty")),
    };
    let whole =
        matches!(columns.get(target).map(|c| c.kind), Some(ColumnType::Int | ColumnType::Bigint));
    let number = if whole { "a whole number" } else { "a number" };
    let (sign_when, sign) = match entry.model.transform {
        Transform::Log => (format!("{target} < 0"), " that is not negative"),
        Transform::None => ("FALSE".to_owned(), ""),
    };
    // Records of periods to come have features and no target.
    let target_when = match entry.task.knows_ahead() {
        false => format!("{target} IS NULL OR {sign_when}"),
        true => sign_when,
    };
    vec![
        rule(
            series,
            "given",
            format!("{series} IS NULL"),
            format!("the {series} must not be empty"),
        ),
        rule(time, "valid", time_when, time_reason),
        rule(target, "valid", target_when, format!("the {target} must be {number}{sign}")),
    ]
}
