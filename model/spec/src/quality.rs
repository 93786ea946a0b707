//! `[quality]`: what is refused.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::column::ColumnType;
use crate::defects::Defects;
use crate::gaps::Gaps;
use crate::manifest::Manifest;
use crate::tasks::forecast::{Spacing, Task};
use crate::transform::Transform;

/// Names of rules that options make.
const OWN_RULES: [&str; 4] = ["leave_out", "missing", "unique", "partial_period"];

/// Which records and data are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    /// Rules per record, tried in order. Without any, series, time and target must be there, years
    /// be years, and the target not be negative unless `model.transform` is `none`.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// What happens to two records of one series and period; they are refused when there is no
    /// `[quality]`.
    pub unique: Option<Unique>,
    /// Whether an incomplete newest period is looked for.
    pub partial_period: Option<PartialPeriod>,
    /// What happens to periods without a value.
    #[serde(default)]
    pub gaps: Gaps,
    /// What happens when a series is the sum of all others, so that sums count everything twice.
    #[serde(default)]
    pub total: Total,
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

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Name of the rule: letters, digits and underscores.
    pub name: String,
    /// Column that it looks at, for messages.
    pub column: String,
    /// SQL that is true for a record that breaks it.
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

/// Two records of one series and period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unique {
    /// What happens to both records.
    pub action: Action,
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
            let key = format!("quality.rules[{at}].column");
            manifest.data.known(&key, &rule.column, out);
        }
    }
}

/// Rules that follow from the task: what it needs of each record must be there.
pub(crate) fn default_rules(manifest: &Manifest) -> Vec<Rule> {
    let Task { series, time, target, frequency, .. } = &manifest.task;
    let rule = |column: &str, what: &str, when: String, reason: String| Rule {
        name: format!("{column}_{what}"),
        column: column.to_owned(),
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
    let whole = matches!(
        manifest.column(target).map(|c| c.kind),
        Some(ColumnType::Int | ColumnType::Bigint)
    );
    let number = if whole { "a whole number" } else { "a number" };
    let (sign_when, sign) = match manifest.model.transform {
        Transform::Log => (format!("{target} < 0"), " that is not negative"),
        Transform::None => ("FALSE".to_owned(), ""),
    };
    // Records of periods to come have features and no target.
    let target_when = match manifest.task.knows_ahead() {
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
