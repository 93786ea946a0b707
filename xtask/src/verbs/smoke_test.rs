//! `smoke-test`: runs the pipeline once and proves every result.

mod checks;

use anyhow::{Error, Result};
use serde_json::{Value, json};
use steppe_plan::events::{Did, Fact, Finding, Step, Unit};
use steppe_plan::smoke_test::{Check, CheckKind, Place, SmokePlan, Tested};

use crate::deployment::{Deployment, of_other_version};
use crate::execution::Execution;
use crate::exit::Outcome;
use crate::hint::{hints_of, tells_of_a_full_disk};
use crate::host::{Host, Work};
use crate::project::Workspace;
use crate::registry::Registry;
use crate::table::table;
use crate::target::local_cloud;
use checks::Test;

/// Characters of a failure that the table shows; the whole is told below it.
const FAILURE_SHOWN: usize = 100;

/// What is tested, and how far.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// Series to forecast; all when empty.
    pub series: &'a [String],
    /// Prints the checks and stops.
    pub dry_run: bool,
}

/// What a check saw.
struct Seen {
    check: String,
    result: Result<String>,
    seconds: f64,
}

/// Runs the pipeline and checks it, or prints the checks.
pub async fn run(workspace: &Workspace, host: &Host, options: Options<'_>) -> Result<Outcome> {
    let ours = Deployment::open(workspace).await?;
    let version = Registry::of(&ours)?.some_pointer().await?.in_service.current.model.version;
    let plan = plan(workspace, &ours, &version, options.series)?;
    if options.dry_run {
        host.result(&plan, &plan.to_string());
        return Ok(Outcome::Done);
    }
    host.planned(&plan);
    let began = jiff::Timestamp::now();
    let test = Test { workspace, ours: &ours, began, version: &version };
    let (mut seen, mut run) = (Vec::new(), None);
    let testing = host.begin(Step::SmokeTest, None);
    for (done, Check { name, kind }) in (0..).zip(&plan.checks) {
        testing.progress(done, plan.checks.len() as u64, Unit::Checks);
        if kind.needs_run() && run.is_none() {
            continue;
        }
        let work = host.begin(Step::Check, name.clone());
        let started = std::time::Instant::now();
        let result = carry_out(&test, kind, &mut run).await;
        if let Ok(seen) = &result {
            work.done(Did::Check { check: name.clone(), seen: seen.clone() });
        }
        seen.push(Seen { check: name.clone(), result, seconds: started.elapsed().as_secs_f64() });
    }
    Ok(report(&seen, host, testing))
}

/// The checks of what is deployed.
fn plan(
    workspace: &Workspace,
    ours: &Deployment,
    version: &str,
    series: &[String],
) -> Result<SmokePlan> {
    let embedded = local_cloud(workspace)?.is_some();
    let tested = Tested {
        manifest: &workspace.manifest,
        check_sql: &workspace.check_sql,
        outputs: &ours.stack()?.outputs,
        version,
        place: if embedded { Place::Embedded } else { Place::Aws },
        series,
    };
    SmokePlan::new(&workspace.names, &tested).map_err(of_other_version)
}

/// Carries out one check; the one that runs the pipeline leaves its `run` to those behind it.
async fn carry_out(
    test: &Test<'_>,
    kind: &CheckKind,
    run: &mut Option<Execution>,
) -> Result<String> {
    if let CheckKind::Run { machine, series, version } = kind {
        *run = Some(test.execute(machine, series, version).await?);
    }
    match run {
        Some(execution) => test.look(kind, execution).await,
        None => test.alone(kind).await,
    }
}

fn report(seen: &[Seen], host: &Host, testing: Work) -> Outcome {
    host.result(&json!({ "checks": seen.iter().map(as_json).collect::<Vec<_>>() }), &text(seen));
    let failed = |s: &'_ Seen| s.result.is_err();
    if !seen.iter().any(failed) {
        testing.done(Did::SmokeTest { checks: seen.len() });
        return Outcome::Done;
    }
    let first = seen.iter().find_map(|s| Some((s.check.as_str(), s.result.as_ref().err()?)));
    if let Some((check, error)) = first {
        let why = format!("{error:#}");
        let is_full = tells_of_a_full_disk(&why);
        host.found(Finding::CheckFailed { check: check.to_owned(), why, hints: hints_of(error) });
        if is_full {
            host.fact(Fact::DiskFull);
        }
    }
    Outcome::Found
}

fn as_json(seen: &Seen) -> Value {
    let (passed, error) = (seen.result.is_ok(), seen.result.as_ref().err());
    json!({
        "check": seen.check,
        "passed": passed,
        "seconds": seen.seconds,
        "seen": seen.result.as_ref().ok(),
        "why": error.map(|e| format!("{e:#}")),
        "hints": error.map(hints_of),
    })
}

fn text(seen: &[Seen]) -> String {
    let shown = |error: &Error| -> String {
        let text = format!("{error:#}");
        text.lines().next().unwrap_or_default().chars().take(FAILURE_SHOWN).collect()
    };
    let row = |s: &Seen| {
        let (verdict, text) = match &s.result {
            Ok(text) => ("ok", text.clone()),
            Err(error) => ("FAILED", shown(error)),
        };
        vec![s.check.to_owned(), verdict.to_owned(), format!("{:.2}", s.seconds), text]
    };
    table(&["check", "result", "seconds", "seen"], &seen.iter().map(row).collect::<Vec<_>>())
}
