//! What a manifest means that does not say it: a short one forecasts with the best family, and
//! refuses what cannot be read.

use std::collections::BTreeMap;

use super::{
    Action, BacktestOptions, ColumnType, Frequency, Gaps, Lstm, Manifest, Model, ModelKind,
    Quality, Rule, StackOptions, Task, Transform, Trees, Unique,
};

pub(super) fn description() -> String {
    "Forecasts of the next periods".to_owned()
}

pub(super) fn horizon() -> usize {
    1
}

impl Default for Quality {
    fn default() -> Self {
        let unique = Some(Unique { action: Action::Fail });
        Self { rules: vec![], unique, partial_period: None, gaps: Gaps::default() }
    }
}

impl Default for Model {
    fn default() -> Self {
        Self {
            kind: ModelKind::Auto,
            candidates: None,
            transform: Transform::default(),
            seed: 1,
            lstm: Lstm::default(),
            trees: Trees::default(),
        }
    }
}

impl Default for BacktestOptions {
    fn default() -> Self {
        Self { origins: 8, stride: None, refit: true, interval_level: 0.9 }
    }
}

impl Default for StackOptions {
    fn default() -> Self {
        Self {
            instance_type: BTreeMap::new(),
            etl_workers: 2,
            map_concurrency: 4,
            log_retention_days: 30,
            verify: true,
            alarms: true,
            notify: true,
            emails: vec![],
        }
    }
}

/// Rules that follow from the task: what it needs of each record must be there.
pub(super) fn rules(manifest: &Manifest) -> Vec<Rule> {
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
