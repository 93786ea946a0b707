//! What a manifest can get wrong beyond its syntax. Everything wrong is reported at once.

use std::collections::BTreeSet;

use super::{
    ColumnType, DayCalendar, Frequency, MANIFEST_SCHEMA_VERSION, Manifest, ModelKind, data_checks,
    one_core,
};
use crate::environment::{Environment, name_defect, project_defect};

/// Days that CloudWatch Logs can keep events.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html>
const RETENTION_DAYS: [u32; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
];

/// What keeps an expression from being a schedule of EventBridge, as far as its form tells.
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html>
fn schedule_defect(expression: &str) -> Option<&'static str> {
    let inner = |name: &str| expression.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
    if let Some(rate) = inner("rate") {
        let parts: Vec<&str> = rate.split(' ').collect();
        let [number, unit] = parts[..] else {
            return Some("needs a number and a unit, as in `rate(12 hours)`");
        };
        let units =
            if number == "1" { ["minute", "hour", "day"] } else { ["minutes", "hours", "days"] };
        let whole = number.parse::<u32>().is_ok_and(|n| n > 0);
        return (!whole || !units.contains(&unit))
            .then_some("needs a whole number and a unit that agrees with it, as in `rate(1 day)`");
    }
    let Some(cron) = inner("cron") else { return Some("is neither `rate(…)` nor `cron(…)`") };
    let fields: Vec<&str> = cron.split(' ').collect();
    let plain = |field: &&str| {
        !field.is_empty()
            && field.bytes().all(|b| b.is_ascii_alphanumeric() || b"*?,-/#".contains(&b))
    };
    if fields.len() != 6 || !fields.iter().all(plain) {
        return Some(
            "needs six fields: minutes, hours, day of month, month, day of week, year, as in `cron(0 6 1 * ? *)`",
        );
    }
    ((fields[2] == "?") == (fields[4] == "?"))
        .then_some("needs `?` for one of day of month and day of week, as in `cron(0 6 1 * ? *)`")
}

/// A copied folder whose manifest still has the original's name would be deployed as the original.
pub fn folder_defect(manifest: &Manifest, file: &str) -> Option<String> {
    let folder = file.rsplit('/').nth(1)?;
    (folder != manifest.name).then(|| {
        format!(
            "the name is `{}`, but the folder is `{folder}`; a pipeline is called as its folder",
            manifest.name
        )
    })
}

/// Everything that is wrong with a manifest.
pub fn defects(manifest: &Manifest) -> Vec<String> {
    let mut out = Vec::new();
    top(manifest, &mut out);
    task(manifest, &mut out);
    calendar(manifest, &mut out);
    features(manifest, &mut out);
    data_checks::defects(manifest, &mut out);
    rules_and_queries(manifest, &mut out);
    ranges(manifest, &mut out);
    stack(manifest, &mut out);
    out
}

/// Emails that reach nobody: domains that are reserved for examples (RFC 2606, RFC 6761). The
/// embedded cloud delivers into a folder, so there they are as good as any.
pub fn unreachable_emails(
    manifest: &Manifest,
    environment: &Environment,
) -> impl Iterator<Item = String> {
    let checked = matches!(environment, Environment::Aws { .. }) && manifest.stack.notify;
    let emails = manifest.stack.emails.iter().filter(move |_| checked);
    emails.filter(|email| is_reserved(email)).map(|email| {
        format!("`{email}` is an example: its domain is reserved, so nobody gets the emails")
    })
}

fn is_reserved(email: &str) -> bool {
    let domain = email.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
    let mut labels = domain.rsplit('.');
    matches!(
        (labels.next(), labels.next()),
        (Some("example" | "test" | "invalid" | "localhost"), _)
            | (Some("com" | "net" | "org"), Some("example"))
    )
}

pub(super) fn need(out: &mut Vec<String>, holds: bool, message: impl FnOnce() -> String) {
    if !holds {
        out.push(message());
    }
}

fn top(manifest: &Manifest, out: &mut Vec<String>) {
    let (version, name) = (manifest.schema_version, &manifest.name);
    need(out, version == MANIFEST_SCHEMA_VERSION, || {
        format!("`schema_version` is {version}, this program reads {MANIFEST_SCHEMA_VERSION}")
    });
    out.extend(name_defect(name).map(|defect| format!("the name `{name}` {defect}")));
}

fn task(manifest: &Manifest, out: &mut Vec<String>) {
    let task = &manifest.task;
    for (key, column) in [("series", &task.series), ("time", &task.time), ("target", &task.target)]
    {
        need(out, manifest.column(column).is_some(), || {
            format!("`task.{key}` is `{column}`, but `data.columns` has no such column")
        });
    }
    let is = |name: &str, fits: &dyn Fn(ColumnType) -> bool| {
        manifest.column(name).is_none_or(|column| fits(column.kind))
    };
    need(out, is(&task.series, &|k| k == ColumnType::String), || {
        format!("the series column `{}` must have the type `string`", task.series)
    });
    let (time_type, said) = match task.frequency {
        Frequency::Yearly => (ColumnType::Int, "`int`, whole years"),
        _ => (ColumnType::String, "`string`, dates and times in ISO 8601"),
    };
    need(out, is(&task.time, &|k| k == time_type), || {
        format!("the time column `{}` must have the type {said}", task.time)
    });
    need(out, is(&task.target, &|k| k != ColumnType::String), || {
        format!("the target column `{}` must be a number", task.target)
    });
}

fn calendar(manifest: &Manifest, out: &mut Vec<String>) {
    let task = &manifest.task;
    let plain = task.calendar == DayCalendar::EveryDay;
    need(out, plain || task.frequency == Frequency::Daily, || {
        "`task.calendar` says which days have values, so it needs `task.frequency = \"daily\"`"
            .to_owned()
    });
    let observed = task.calendar == DayCalendar::AsObserved;
    need(out, observed || task.holidays.is_empty(), || {
        "`task.holidays` needs `task.calendar = \"as-observed\"`".to_owned()
    });
    for day in &task.holidays {
        need(out, is_date(day), || {
            format!("`task.holidays` has `{day}`; expected a date, as in `2026-01-01`")
        });
    }
}

/// Whether `text` has the form of a date; whether the month has such a day is not looked at.
fn is_date(text: &str) -> bool {
    let mut parts = text.split('-');
    let number = |part: Option<&str>, digits: usize, largest: u32| {
        let number = part.filter(|p| p.len() == digits).and_then(|p| p.parse().ok());
        number.is_some_and(|n: u32| (1..=largest).contains(&n))
    };
    number(parts.next(), 4, 9_999)
        && number(parts.next(), 2, 12)
        && number(parts.next(), 2, 31)
        && parts.next().is_none()
}

fn features(manifest: &Manifest, out: &mut Vec<String>) {
    let task = &manifest.task;
    for feature in task.covariates.iter().chain(&task.static_features) {
        match manifest.column(feature).map(|column| column.kind) {
            None => out.push(format!("the feature `{feature}` is not in `data.columns`")),
            Some(ColumnType::String) => {
                out.push(format!("the feature `{feature}` must be a number"));
            }
            Some(_) => {}
        }
        let used = [&task.target, &task.time].contains(&feature);
        need(out, !used, || {
            format!("`{feature}` cannot be a feature: it is the target or the time")
        });
    }
    let families = manifest.model.candidates.iter().flatten();
    let made_of_others =
        families.into_iter().any(|k| matches!(k, ModelKind::Auto | ModelKind::Combination));
    need(out, !made_of_others, || {
        "`model.candidates` names families; `auto` and `combination` are made of them".to_owned()
    });
}

fn rules_and_queries(manifest: &Manifest, out: &mut Vec<String>) {
    let mut rules = BTreeSet::new();
    for rule in &manifest.quality.rules {
        let name = &rule.name;
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        need(out, plain && !name.is_empty(), || {
            format!("the rule name `{name}` must consist of letters, digits and underscores")
        });
        need(out, rules.insert(name), || format!("the rule `{name}` is declared twice"));
        let column = &rule.column;
        need(out, manifest.column(column).is_some(), || {
            format!("the rule `{name}` looks at `{column}`, but `data.columns` has no such column")
        });
    }
    let mut queries = BTreeSet::new();
    for name in manifest.queries.iter().map(|query| &query.name) {
        out.extend(project_defect(name).map(|defect| format!("the query name `{name}` {defect}")));
        need(out, queries.insert(name), || format!("the query `{name}` is declared twice"));
    }
}

fn ranges(manifest: &Manifest, out: &mut Vec<String>) {
    let Manifest { task, model, backtest, stack, retrain, .. } = manifest;
    let (lstm, trees) = (&model.lstm, &model.trees);
    let memory_mb = retrain.as_ref().map_or(one_core(), |r| r.memory_mb) as usize;
    for (what, value, low, high) in [
        ("task.horizon", task.horizon, 1, 366),
        ("quality.gaps.fill", manifest.quality.gaps.fill, 0, 1_000),
        ("model.lstm.context", lstm.context, 2, 1_000),
        ("model.lstm.hidden", lstm.hidden, 1, 512),
        ("model.lstm.epochs", lstm.epochs, 1, 10_000),
        ("model.lstm.members", lstm.members, 1, 32),
        ("model.lstm.batch", lstm.batch, 1, 4_096),
        ("model.lstm.patience", lstm.patience.unwrap_or(1), 1, 1_000),
        ("model.lstm.epoch_windows", lstm.epoch_windows, 1, 10_000_000),
        ("model.trees.rounds", trees.rounds, 1, 10_000),
        ("model.trees.depth", trees.depth, 1, 12),
        ("model.trees.rows_max", trees.rows_max, 100, 10_000_000),
        ("backtest.origins", backtest.origins, 1, 1_000),
        ("backtest.stride", backtest.stride.unwrap_or(1), 1, 10_000),
        ("stack.etl_workers", stack.etl_workers as usize, 2, 299),
        ("retrain.memory_mb", memory_mb, 128, 10_240),
        ("stack.map_concurrency", stack.map_concurrency as usize, 1, 40),
    ] {
        need(out, (low..=high).contains(&value), || {
            format!("`{what}` is {value}; expected {low} to {high}")
        });
    }
    let level = backtest.interval_level;
    need(out, level > 0.0 && level < 1.0, || {
        format!("`backtest.interval_level` is {level}; expected a share between 0 and 1")
    });
}

fn stack(manifest: &Manifest, out: &mut Vec<String>) {
    let stack = &manifest.stack;
    let days = stack.log_retention_days;
    need(out, RETENTION_DAYS.contains(&days), || {
        format!("`stack.log_retention_days` is {days}; CloudWatch Logs keeps {RETENTION_DAYS:?}")
    });
    let retrain = manifest.retrain.as_ref().and_then(|r| r.schedule.as_deref());
    let drift = manifest.drift.as_ref().map(|d| d.schedule.as_str());
    for (key, expression) in [("retrain.schedule", retrain), ("drift.schedule", drift)] {
        let Some(expression) = expression else { continue };
        out.extend(
            schedule_defect(expression)
                .map(|defect| format!("`{key}` is `{expression}`, which {defect}")),
        );
    }
    need(out, manifest.retrain.is_none() || stack.verify, || {
        "`retrain` needs `stack.verify = true`: a run that nobody started takes its series from \
         there"
            .to_owned()
    });
    for (architecture, instance_type) in &stack.instance_type {
        need(out, matches!(architecture.as_str(), "x86_64" | "arm64"), || {
            format!(
                "`stack.instance_type` has the architecture `{architecture}`; there are `x86_64` \
                 and `arm64`"
            )
        });
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
        need(out, instance_type.contains('.') && instance_type.bytes().all(plain), || {
            format!("`{instance_type}` is not an instance type, such as `t3.micro`")
        });
    }
    for email in &stack.emails {
        let valid = email.split_once('@').is_some_and(|(a, b)| !a.is_empty() && b.contains('.'))
            && email.chars().all(|c| !c.is_whitespace() && !c.is_control());
        need(out, valid, || format!("`{email}` is not an email address"));
    }
}
