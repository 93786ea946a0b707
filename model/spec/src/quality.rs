//! `[quality]`: what is refused.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::defects::Defects;
use crate::gaps::Gaps;
use crate::input::ColumnType;
use crate::manifest::Manifest;
use crate::tasks::forecast::{Frequency, Task};
use crate::transform::Transform;

/// Names of rules that options make.
const OWN_RULES: [&str; 4] = ["leave_out", "missing", "unique", "partial_period"];

/// What is refused.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    /// Rules per record, tried in order; without any, those that follow from the task.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Two records of one series and period.
    pub unique: Option<Unique>,
    /// An incomplete newest period.
    pub partial_period: Option<PartialPeriod>,
    /// Periods without a value.
    #[serde(default)]
    pub gaps: Gaps,
    /// A series that is the sum of all others.
    #[serde(default)]
    pub total: Total,
}

/// What happens when a series is the sum of all others, so that sums count everything twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Total {
    /// The data are refused, until it is left out or meant.
    #[default]
    Fail,
    /// It is a series like the others, and told.
    Keep,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// The column it looks at, for messages.
    pub column: String,
    /// SQL that is true for a record that breaks it.
    pub when: String,
    /// What people are told.
    pub reason: String,
    /// What happens.
    pub action: Action,
}

/// What happens to a record that breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is set aside with the reason.
    Reject,
    /// The job stops before it writes anything.
    Fail,
}

/// Two records of one series and period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unique {
    /// What happens to both.
    pub action: Action,
}

/// An incomplete newest period.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartialPeriod {
    /// Share of the total of the period one season before, below which it counts as incomplete.
    pub below: f64,
    /// What happens to its records.
    pub action: Action,
}

impl Default for Quality {
    fn default() -> Self {
        let unique = Some(Unique { action: Action::Fail });
        Self {
            rules: vec![],
            unique,
            partial_period: None,
            gaps: Gaps::default(),
            total: Total::default(),
        }
    }
}

impl Quality {
    pub(crate) fn defects(&self, manifest: &Manifest, out: &mut Defects) {
        out.range("quality.gaps.fill", self.gaps.fill, (0, 1_000));
        let mut rules = BTreeSet::new();
        for (at, rule) in self.rules.iter().enumerate() {
            let (key, name) = (format!("quality.rules[{at}].name"), &rule.name);
            let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            out.need(&key, plain && !name.is_empty(), || {
                format!("the rule name `{name}` must consist of letters, digits and underscores")
            });
            out.need(&key, rules.insert(name), || format!("the rule `{name}` is declared twice"));
            out.need(&key, !OWN_RULES.contains(&name.as_str()), || {
                format!(
                    "the rule name `{name}` is that of a rule which the manifest's options make"
                )
            });
            let column = &rule.column;
            let key = format!("quality.rules[{at}].column");
            out.need(key, manifest.column(column).is_some(), || {
                format!(
                    "the rule `{name}` looks at `{column}`, but `data.columns` has no such column"
                )
            });
        }
    }
}

/// Rules that follow from the task: what it needs of each record must be there.
pub(crate) fn default_rules(manifest: &Manifest) -> Vec<Rule> {
    let Task { series, time, target, frequency, covariates, .. } = &manifest.task;
    let rule = |column: &str, what: &str, when: String, reason: String| Rule {
        name: format!("{column}_{what}"),
        column: column.to_owned(),
        when,
        reason,
        action: Action::Fail,
    };
    let (time_when, time_reason) = match frequency {
        Frequency::Yearly => (
            format!("{time} IS NULL OR {time} < 1000 OR {time} > 2999"),
            format!("the {time} must be a year"),
        ),
        _ => (format!("{time} IS NULL"), format!("the {time} must not be empty")),
    };
    let whole = matches!(
        manifest.column(target).map(|c| c.kind),
        Some(ColumnType::Int | ColumnType::Bigint)
    );
    let number = if whole { "a whole number" } else { "a number" };
    let (sign_when, sign) = match manifest.model.transform {
        Transform::Log => (format!("{target} < 0"), " that is not negative"),
        Transform::None => ("FALSE".to_owned(), ""),
    };
    // Records of periods to come have covariates and no target.
    let target_when = match covariates.is_empty() {
        true => format!("{target} IS NULL OR {sign_when}"),
        false => sign_when,
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
