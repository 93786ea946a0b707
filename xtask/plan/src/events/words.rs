//! The one place that turns events into words.
//!
//! A line is what stands on a pipe and in a terminal's scrollback once something is finished. What
//! goes on has [`doing`]. Events without a line say nothing that people need.

use super::{Did, Doing, Event, Fact, Finding, NotRun, Resource, Step, Unit};
use crate::deploy::{Step as DeployStep, size};
use crate::status::Happened;

/// How a line is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Something was done.
    Good,
    /// Something is so.
    Plain,
    /// Something is wrong.
    Bad,
}

/// A line for people.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// How it is meant.
    pub tone: Tone,
    /// What was done, in a word or two; none for a line that is a sentence.
    pub verb: &'static str,
    /// To what.
    pub what: String,
    /// How long it took.
    pub seconds: Option<f64>,
    /// What to do.
    pub hints: Vec<String>,
}

impl Line {
    fn new(tone: Tone, verb: &'static str, what: impl Into<String>) -> Self {
        Self { tone, verb, what: what.into(), seconds: None, hints: Vec::new() }
    }

    fn good(verb: &'static str, what: impl Into<String>) -> Option<Self> {
        Some(Self::new(Tone::Good, verb, what))
    }

    fn plain(verb: &'static str, what: impl Into<String>) -> Option<Self> {
        Some(Self::new(Tone::Plain, verb, what))
    }

    fn bad(verb: &'static str, what: impl Into<String>) -> Option<Self> {
        Some(Self::new(Tone::Bad, verb, what))
    }
}

/// The line of an event; `None` for one that people need not read.
pub fn line(event: &Event) -> Option<Line> {
    match event {
        Event::StepDone { seconds, did } => {
            did_line(did).map(|line| Line { seconds: Some(*seconds), ..line })
        }
        Event::Resource(resource) => resource_line(resource),
        Event::Fact(fact) => fact_line(fact),
        Event::Finding(finding) => Some(finding_line(finding)),
        Event::Began { .. }
        | Event::Planned { .. }
        | Event::StepStarted { .. }
        | Event::Progress { .. }
        | Event::StepFailed { .. }
        | Event::Question { .. }
        | Event::Result { .. }
        | Event::Error { .. }
        | Event::Ended { .. } => None,
    }
}

fn did_line(did: &Did) -> Option<Line> {
    match did {
        Did::Build => Line::good("built", "embedded cloud, engine, model server, predictor"),
        Did::StartCloud { address } => {
            Line::good("started", format!("embedded cloud on {address}"))
        }
        Did::Look { files, records } => {
            Line::good("looked at", format!("files: {files}, records: {records}"))
        }
        Did::WritePipeline { folder } => Line::good("wrote", folder),
        Did::Clean { clean_rows, raw_rows } => {
            Line::good("cleaned", format!("{clean_rows} of {raw_rows} rows"))
        }
        Did::Train { version } => Line::good("trained", format!("model {version}")),
        Did::Evaluate { families, cases, of } => {
            Line::good("evaluated", format!("{families} families, {cases} {of}"))
        }
        Did::LookFor { task, looked_at, found } => {
            Line::good("looked", format!("at {looked_at} for `{task}`: {found}"))
        }
        Did::Plant { faults, found } => {
            Line::good("planted", format!("{faults} faults, of which {found} were found"))
        }
        Did::Profile { tables, statements, scanned_bytes } => Line::good(
            "profiled",
            format!(
                "{tables} {}; Athena scanned {} in {statements} statements",
                if *tables == 1 { "table" } else { "tables" },
                size(usize::try_from(*scanned_bytes).unwrap_or(usize::MAX))
            ),
        ),
        Did::CreateBucket { bucket } => Line::good("created", format!("bucket {bucket}")),
        Did::CompleteBucket { bucket, settings } => Line::good(
            "completed",
            format!("what is missing of the bucket {bucket}: {}", settings.join(", ")),
        ),
        Did::Upload { what, bytes, .. } => {
            Line::good("uploaded", format!("{what} ({})", size(*bytes)))
        }
        Did::UploadData { .. } => Line::good("uploaded", "the raw data"),
        Did::SetModel { version } => Line::good("in service", format!("model {version}")),
        Did::EmptyBucket { bucket, objects } => {
            Line::good("emptied", format!("{bucket} ({objects} objects)"))
        }
        Did::FreeNetwork { interfaces } => {
            Line::good("deleted", format!("{interfaces} network interfaces that Lambda left"))
        }
        Did::DeleteBuilds { builds } => {
            Line::good("deleted", format!("{builds} superseded builds"))
        }
        Did::RunPipeline { answers, left_out } => Line::good("ran", answered(*answers, *left_out)),
        Did::Redrive { answers, left_out } => Line::good("ran on", answered(*answers, *left_out)),
        Did::Retrain { promoted, summary, .. } => {
            Line::good(if *promoted { "promoted" } else { "unchanged" }, summary)
        }
        Did::CheckDrift { findings: 0 } => Line::good("checked", "no drift"),
        Did::SmokeTest { checks } => Line::good("passed", format!("{checks} checks")),
        Did::Deploy { stack, environment, changed, version, score } => Line::good(
            if *changed { "deployed" } else { "up to date" },
            format!("{stack} in environment {environment}, model {version} ({score})"),
        ),
        Did::Destroy { stack } => Line::good("nothing left", stack),
        Did::Observe
        | Did::DeleteBucket { .. }
        | Did::AwaitStack
        | Did::CompareStack { .. }
        | Did::CreateStack { .. }
        | Did::UpdateStack { .. }
        | Did::DeleteStack { .. }
        | Did::ContinueRollback
        | Did::StopExecutions { .. }
        | Did::CheckDrift { .. }
        | Did::Check { .. }
        | Did::FindLeftovers
        | Did::StopCloud
        | Did::Predict
        | Did::Query => None,
    }
}

/// What a run answered about.
fn answered(answers: u64, left_out: Option<u64>) -> String {
    match left_out {
        Some(left_out) => format!("the pipeline: {answers} series forecast, {left_out} left out"),
        None => format!("the pipeline: {answers} rows scored"),
    }
}

/// `ModelServer (EC2 Instance)`.
pub fn resource_name(resource: &Resource) -> String {
    let kind = resource.resource_type.trim_start_matches("AWS::").replace("::", " ");
    format!("{} ({kind})", resource.logical_id)
}

fn resource_line(resource: &Resource) -> Option<Line> {
    let name = resource_name(resource);
    let word = resource.status.map_or("an unknown status", |status| status.as_str());
    let timed = |line: Option<Line>| {
        line.map(|l| Line { seconds: Some(resource.seconds.unwrap_or(0.0)), ..l })
    };
    let line = match resource.happened {
        Happened::Begun => None,
        Happened::Created => timed(Line::good("created", name)),
        Happened::Updated => timed(Line::good("updated", name)),
        Happened::Deleted => timed(Line::good("deleted", name)),
        Happened::Kept => Line::plain("kept", name),
        Happened::Failed => {
            let reason = resource.reason.as_deref().unwrap_or("no reason given");
            Line::bad("failed", format!("{name}: {word}: {reason}"))
        }
        Happened::Other => {
            let reason = resource.reason.as_deref().unwrap_or_default();
            Line::plain("noted", format!("{name} {word} {reason}"))
        }
    };
    line.map(|line| Line { hints: resource.hints.clone(), ..line })
}

fn fact_line(fact: &Fact) -> Option<Line> {
    match fact {
        Fact::Data { .. }
        | Fact::Read { .. }
        | Fact::Guess { .. }
        | Fact::RejectedRows { .. }
        | Fact::NewestRejected { .. }
        | Fact::MoreNewestRejected { .. }
        | Fact::DataNote { .. }
        | Fact::ShortSeries { .. }
        | Fact::SyntheticData => data_line(fact),
        Fact::BuildSkipped => Line::plain("skipped", "the build (STEPPE_SKIP_BUILD is set)"),
        Fact::BuildingForAws => Line::plain("building", BUILDING_FOR_AWS),
        Fact::NothingBuilt => Line::plain("note", NOTHING_BUILT),
        Fact::ModelFits { version } => Line::plain("model", format!("{version} fits the data")),
        Fact::NoCheckpoints { why } => {
            Line::plain("", format!("warning: training goes on without checkpoints: {why}"))
        }
        Fact::StackUnchanged { stack } => Line::plain("unchanged", format!("stack {stack}")),
        Fact::ModelUnchanged { version } => {
            Line::plain("unchanged", format!("model {version} is in service already"))
        }
        Fact::StackBusy { status } => {
            Line::plain("waiting", DeployStep::AwaitStack(*status).to_string())
        }
        Fact::DeletingFailedStack { status } => {
            Line::plain("deleting", DeployStep::DeleteFailedStack(*status).to_string())
        }
        Fact::PipelineStarted => Line::plain("running", PIPELINE_STARTED),
        Fact::PipelineNotRun { why } => {
            Line::plain("note", format!("the pipeline was not run, {}", not_run(*why)))
        }
        Fact::StoppingExecutions { executions, machine } => {
            Line::plain("stopping", format!("{executions} running executions of {machine}"))
        }
        Fact::InterfacesInUse { interfaces } => {
            Line::plain("waiting", format!("{interfaces} network interfaces are still in use"))
        }
        Fact::Cost { estimate } => Line::plain("cost", estimate),
        Fact::Next { commands } => Line::plain("next", commands.join("; ")),
        Fact::WayOut => Line::plain("way out", WAY_OUT),
        Fact::NoCloud => Line::plain("nothing left", "the embedded cloud has no state"),
        Fact::CloudStopped => Line::plain("stopped", "embedded cloud"),
        Fact::CloudGoesOn { used_by } => Line::plain("goes on", used_by.to_string()),
        Fact::NotSeen { what } => Line::plain("not seen", what),
        Fact::Report { file } => Line::plain("report", file),
        Fact::NoServiceReport { why } => {
            Line::plain("note", format!("the report says nothing of a model in service: {why}"))
        }
        Fact::ModelTakesEffect => Line::plain("note", MODEL_TAKES_EFFECT),
        Fact::Healthy { what, detail } => Line::plain("ok", format!("{what}: {detail}")),
        Fact::Policies { introduction } => Line::plain("policy", introduction),
        Fact::MoreRows { limit } => {
            Line::plain("", format!("only the first {limit} rows; more with `--limit`"))
        }
        Fact::DiskFull => Line::plain("hint", DISK_IS_FULL),
    }
}

const BUILDING_FOR_AWS: &str =
    "this program with the client of EC2, which AWS needs: minutes, the first time";
const NOTHING_BUILT: &str = "nothing is built yet: hashes in the template are zeros";
const PIPELINE_STARTED: &str = "the pipeline: cleaning, forecasts, message";
const WAY_OUT: &str = "repeat `cargo xtask deploy`: it deletes or continues what this state \
                       needs; or `cargo xtask destroy`";
const MODEL_TAKES_EFFECT: &str = "the server takes it up within seconds; the next deployment \
                                  leaves it in service unless it trains another model";

fn not_run(why: NotRun) -> &'static str {
    match why {
        NotRun::AsAsked => "as asked: forecasts are of the data and the model before",
        NotRun::SeriesMustBeNamed => {
            "its runs must name their series: `cargo xtask smoke-test SERIES`"
        }
    }
}

/// What to do about a full disk.
pub const DISK_IS_FULL: &str =
    "the disk is full: make room, then repeat the command, it continues where it stopped";

fn data_line(fact: &Fact) -> Option<Line> {
    match fact {
        Fact::Data { file, synthetic } => {
            let source =
                if *synthetic { "synthetic sample, invented numbers" } else { "given file" };
            Line::plain("data", format!("{file} ({source})"))
        }
        Fact::Read { what, hints } => {
            Line::plain("read", what).map(|line| Line { hints: hints.clone(), ..line })
        }
        Fact::Guess { what } => Line::plain("look at", what),
        Fact::RejectedRows { rows, rule } => {
            Line::plain("rejected", format!("{rows} rows by the rule `{rule}`"))
        }
        Fact::NewestRejected { series, records, period, rule } => Line::plain(
            "note",
            format!(
                "series `{series}`: its newest records, {records} up to {period}, are rejected by \
                 the rule `{rule}`; a forecast of it would begin before them"
            ),
        ),
        Fact::MoreNewestRejected { series } => Line::plain(
            "note",
            format!("and {series} more series whose newest records are rejected"),
        ),
        Fact::DataNote { note } => Line::plain("note", note),
        Fact::ShortSeries { series, named } => {
            let more = if named.len() < *series { ", …" } else { "" };
            Line::plain(
                "note",
                format!(
                    "{series} series have too few values for the model and are forecast by a plain \
                     rule: `{}`{more}",
                    named.join("`, `")
                ),
            )
        }
        Fact::SyntheticData => {
            Line::plain("note", "the data are synthetic; use your own with `--data FILE.csv`")
        }
        _ => None,
    }
}

fn finding_line(finding: &Finding) -> Line {
    let bad = |verb, what: &str| Line::new(Tone::Bad, verb, what);
    match finding {
        Finding::Concern { concern } => bad("attention", concern),
        Finding::NotAgreed => bad("stopped", "nothing was changed; agree with `--yes`"),
        Finding::RolledBack => bad(
            "rolled back",
            "the stack is as it was before; the first failure above is the cause",
        ),
        Finding::Wedged { status, reason, while_doing: Doing::Change } => {
            bad("wedged", &format!("the stack is in {status}: {reason}"))
        }
        Finding::Wedged { status, reason, while_doing: Doing::Cleanup } => bad(
            "wedged",
            &format!("the failed stack cannot be deleted, it is in {status}: {reason}"),
        ),
        Finding::Left { what } => bad("left", what),
        Finding::Drift { what } => bad("found", what),
        Finding::CheckFailed { check, why, hints } => {
            Line { hints: hints.clone(), ..bad("failed", &format!("{check}: {why}")) }
        }
        Finding::Problem { what, why, hints } => {
            Line { hints: hints.clone(), ..bad("problem", &format!("{what}: {why}")) }
        }
    }
}

/// What is being done while a step goes on: `training the model`.
pub fn doing(step: Step, of: Option<&str>) -> String {
    let of = of.unwrap_or_default();
    let text = match step {
        Step::Build => "building the programs",
        Step::StartCloud => "starting the embedded cloud",
        Step::Look => "looking at the files",
        Step::WritePipeline => "writing the pipeline",
        Step::Clean => "cleaning the data",
        Step::Train => "training the model",
        Step::Evaluate => "comparing the families of models",
        Step::LookFor => "looking for what is unusual and for groups",
        Step::Plant => "planting faults",
        Step::Profile => "asking Athena what the tables hold",
        Step::Observe => "looking at what is there",
        Step::CreateBucket => "creating the bucket",
        Step::CompleteBucket => "completing the bucket",
        Step::Upload => "uploading",
        Step::UploadData => "uploading the raw data",
        Step::SetModel => "putting the model into service",
        Step::EmptyBucket => "emptying",
        Step::DeleteBucket => "deleting the bucket",
        Step::AwaitStack => "waiting for somebody's operation on the stack",
        Step::CompareStack => "comparing the template with the stack",
        Step::CreateStack => "creating the stack",
        Step::UpdateStack => "updating the stack",
        Step::DeleteStack => "deleting the stack",
        Step::ContinueRollback => "continuing the rollback",
        Step::FreeNetwork => "deleting network interfaces that Lambda left",
        Step::DeleteBuilds => "deleting superseded builds",
        Step::StopExecutions => "stopping running executions",
        Step::RunPipeline => "running the pipeline",
        Step::Redrive => "going on with the newest run",
        Step::Retrain => "running the pipeline with training",
        Step::CheckDrift => "looking for drift",
        Step::Check => "check:",
        Step::SmokeTest => "testing the pipeline",
        Step::FindLeftovers => "looking for what is left",
        Step::StopCloud => "stopping the embedded cloud",
        Step::Deploy => "deploying",
        Step::Destroy => "destroying",
        Step::Predict => "asking for a forecast",
        Step::Query => "asking Athena",
    };
    if of.is_empty() { text.to_owned() } else { format!("{text} {of}") }
}

/// `23 of 53 resources`.
pub fn progress(done: u64, total: u64, unit: Unit) -> String {
    match unit {
        Unit::Work => {
            let percent = (done * 100 / total.max(1)).min(100);
            format!("{percent} %")
        }
        Unit::Bytes => format!("{} of {}", size(done as usize), size(total as usize)),
        Unit::Resources => format!("{done} of {total} resources"),
        Unit::Checks => format!("{done} of {total} checks"),
    }
}
