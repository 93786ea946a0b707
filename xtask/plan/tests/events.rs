//! docs/events.md is made from the events themselves.
//!
//! `EXPECTORATE=overwrite cargo test -p steppe-plan --test events` writes it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use steppe_plan::destroy::CloudUse;
use steppe_plan::events::words::line;
use steppe_plan::events::{
    Answerer, Did, Doing, Event, Fact, Finding, NotRun, Outcome, Resource, SCHEMA, Step, Unit,
};
use steppe_plan::status::{Happened, ResourceStatus, StackStatus};

/// Where the events are.
const SOURCES: [&str; 2] =
    [include_str!("../src/events.rs"), include_str!("../src/events/facts.rs")];
const INTRODUCTION: &str = "# Events of `--json`

Every verb takes `--json`. Standard output then has one JSON document a line and nothing else, and
standard error is empty unless a program that the verb starts has something to say. Each line has
`schema`, the version of what this page describes, `event`, what it is, and `at`, the time. Fields
and events may be added within a version, so a reader skips what it does not know. A command that
Ctrl-C ended has no event `ended`.

The first event is `began`, the last `ended`; in between is at most one `result`. Questions are
asked on a terminal only and count as \"no\" elsewhere: `--yes` agrees in advance.

This page is made from `xtask/plan/src/events.rs`.
";

fn events() -> Vec<Event> {
    let plan = json!({ "steps": [{ "step": "create-artifacts-bucket", "of": "bucket" }] });
    vec![
        Event::Began { verb: "deploy".into() },
        Event::Planned { plan },
        Event::StepStarted {
            step: Step::Train,
            of: Some("name".into()),
            expected_seconds: Some(12.5),
        },
        Event::Progress { step: Step::Train, done: 4, total: 10, unit: Unit::Work },
        Event::StepDone { seconds: 12.1, did: Did::Train { version: "9c1e".into() } },
        Event::StepFailed { step: Step::Train, seconds: 1.5 },
        Event::Resource(Resource {
            logical_id: "DataBucket".into(),
            resource_type: "AWS::S3::Bucket".into(),
            happened: Happened::Failed,
            status: Some(ResourceStatus::CreateFailed),
            reason: Some("the name is taken".into()),
            hints: vec!["choose another".into()],
            seconds: Some(0.2),
        }),
        Event::Fact(Fact::BuildSkipped),
        Event::Finding(Finding::NotAgreed),
        Event::Question { question: "Go on?".into(), agreed: false, by: Answerer::Nobody },
        Event::Result { result: json!({ "stack": "steppe-marriages-local", "changed": true }) },
        Event::Error {
            message: "cannot read people.csv".into(),
            causes: vec!["it is a folder".into()],
            hints: vec!["give the one file with the table".into()],
        },
        Event::Ended {
            verb: "deploy".into(),
            outcome: Outcome::Done,
            exit_code: Outcome::Done.exit_code(),
            seconds: 20.3,
        },
    ]
}

fn steps() -> Vec<Did> {
    let (stack, bucket) = ("steppe-marriages-local".to_owned(), "bucket".to_owned());
    let version = "9c1e".to_owned();
    vec![
        Did::Build,
        Did::StartCloud { address: "127.0.0.1:4580".into() },
        Did::Look { files: 2, records: 483 },
        Did::WritePipeline { folder: "model/pipelines/braki".into() },
        Did::Clean { clean_rows: 478, raw_rows: 480 },
        Did::Train { version: version.clone() },
        Did::Evaluate { families: 11, cases: 20, of: "series".to_owned() },
        Did::LookFor { task: "unusual".into(), looked_at: 97, found: "5 flagged".into() },
        Did::Plant { faults: 160, found: 150 },
        Did::Profile { tables: 2, statements: 9, scanned_bytes: 1_200_000 },
        Did::Observe,
        Did::CreateBucket { bucket: bucket.clone() },
        Did::CompleteBucket { bucket: bucket.clone(), settings: vec!["policy".into()] },
        Did::Upload { what: "the predictor".into(), key: "lambda/1.zip".into(), bytes: 2_900_000 },
        Did::UploadData { bucket: bucket.clone(), bytes: 9_500 },
        Did::SetModel { version: version.clone() },
        Did::EmptyBucket { bucket: bucket.clone(), objects: 24 },
        Did::DeleteBucket { bucket },
        Did::AwaitStack,
        Did::CompareStack { changes: 53 },
        Did::CreateStack { stack: stack.clone(), resources: 53 },
        Did::UpdateStack { stack: stack.clone(), resources: 3 },
        Did::DeleteStack { stack: stack.clone(), resources: 53 },
        Did::ContinueRollback,
        Did::FreeNetwork { interfaces: 2 },
        Did::DeleteBuilds { builds: 4 },
        Did::StopExecutions { executions: 1 },
        Did::RunPipeline { answers: 20, left_out: Some(0) },
        Did::Redrive { answers: 20, left_out: Some(0) },
        Did::Retrain {
            promoted: true,
            summary: "better by 3 %".into(),
            in_service: version.clone(),
        },
        Did::CheckDrift { findings: 0 },
        Did::Check { check: "history".into(), seen: "176 events, 11 states".into() },
        Did::SmokeTest { checks: 7 },
        Did::FindLeftovers,
        Did::StopCloud,
        Did::Deploy {
            stack: stack.clone(),
            environment: "local".into(),
            changed: true,
            version,
            score: "backtest MAPE 1.82 %".to_owned(),
        },
        Did::Destroy { stack },
        Did::Predict,
        Did::Query,
    ]
}

fn facts() -> Vec<Fact> {
    let (series, rule) = ("Almaty".to_owned(), "not_negative".to_owned());
    let data = [
        Fact::Data { file: "people.csv".into(), synthetic: false },
        Fact::Read { what: "compressed by gzip, unpacked".into(), hints: vec![] },
        Fact::Guess { what: "missing = [\"…\"]".into() },
        Fact::RejectedRows { rows: 2, rule: rule.clone() },
        Fact::NewestRejected { series: series.clone(), records: 1, period: "2023".into(), rule },
        Fact::MoreNewestRejected { series: 4 },
        Fact::DataNote { note: "a gap of `Almaty` is filled".into() },
        Fact::ShortSeries { series: 1, named: vec![series] },
        Fact::SyntheticData,
    ];
    let version = "9c1e".to_owned();
    let others = [
        Fact::BuildSkipped,
        Fact::BuildingForAws,
        Fact::NothingBuilt,
        Fact::ModelFits { version: version.clone() },
        Fact::NoCheckpoints { why: "the disk is full".into() },
        Fact::StackUnchanged { stack: "steppe-marriages-local".into() },
        Fact::ModelUnchanged { version },
        Fact::StackBusy { status: StackStatus::UpdateInProgress },
        Fact::DeletingFailedStack { status: StackStatus::RollbackComplete },
        Fact::PipelineStarted,
        Fact::PipelineNotRun { why: NotRun::AsAsked },
        Fact::StoppingExecutions { executions: 1, machine: "steppe-marriages-local".into() },
        Fact::InterfacesInUse { interfaces: 2 },
        Fact::Cost { estimate: "about 12.03 US dollars a month while nothing runs".into() },
        Fact::Next { commands: vec!["cargo xtask smoke-test".into()] },
        Fact::WayOut,
        Fact::NoCloud,
        Fact::CloudStopped,
        Fact::CloudGoesOn { used_by: CloudUse::Stack("steppe-energy-local".into()) },
        Fact::NotSeen { what: "roles: you lack iam:GetRole".into() },
        Fact::Report { file: ".steppe/reports/marriages/evaluation.html".into() },
        Fact::NoServiceReport { why: "the stack does not exist".into() },
        Fact::ModelTakesEffect,
        Fact::Healthy { what: "platform".into(), detail: "Linux".into() },
        Fact::Policies { introduction: "attach both".into() },
        Fact::MoreRows { limit: 100 },
        Fact::DiskFull,
    ];
    data.into_iter().chain(others).collect()
}

fn findings() -> Vec<Finding> {
    let (reason, status) = ("a resource is in use".to_owned(), StackStatus::DeleteFailed);
    vec![
        Finding::Concern { concern: "26 objects in bucket will be lost".into() },
        Finding::NotAgreed,
        Finding::RolledBack,
        Finding::Wedged { status, reason, while_doing: Doing::Change },
        Finding::Left { what: "bucket steppe-marriages-local-data-000000000000".into() },
        Finding::Drift { what: "the input drifts: level".into() },
        Finding::CheckFailed {
            check: "forecasts".into(),
            why: "there is no forecast".into(),
            hints: vec![],
        },
        Finding::Problem { what: "cargo".into(), why: "cannot run `cargo`".into(), hints: vec![] },
    ]
}

/// The names that a type knows, as its error for an unknown one lists them.
fn names<T: DeserializeOwned>(tag: &str) -> BTreeSet<String> {
    let unknown = json!({ tag: "no such name", "seconds": 1 });
    let error = serde_json::from_value::<T>(unknown).map(|_| ()).expect_err("unknown").to_string();
    let quoted = error.split('`').skip(1).step_by(2).map(str::to_owned);
    quoted.filter(|name| name != "no such name").collect()
}

/// What the source says about each variant of an enum, by its name in JSON.
fn meanings(of: &str) -> BTreeMap<String, String> {
    let (mut found, mut said) = (BTreeMap::new(), String::new());
    let sources = SOURCES.concat();
    let (_, source) = sources.split_once(&format!("\n{of} {{\n")).expect("the enum");
    let (source, _) = source.split_once("\n}\n").expect("its end");
    for line in source.lines() {
        let text = line.trim();
        if let Some(more) = text.strip_prefix("///") {
            said = format!("{said} {}", more.trim()).trim().to_owned();
            continue;
        }
        let name: String = text.chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
        let is_variant = line.starts_with("    ")
            && !line.starts_with("     ")
            && name.starts_with(|c: char| c.is_ascii_uppercase());
        if is_variant && !said.is_empty() {
            found.insert(kebab(&name), said.clone());
        }
        said.clear();
    }
    found
}

fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.push(c.to_ascii_lowercase());
    }
    kebab
}

/// A table of events, each with its meaning, its words and itself.
fn table((title, tag): (&str, &str), events: &[Event], of: &str) -> String {
    let meanings = meanings(of);
    let mut text = format!(
        "\n## {title}\n\n| `{tag}` | what it tells | example | words |\n|---|---|---|---|\n"
    );
    let mut seen = BTreeSet::new();
    for event in events {
        let json: Value = serde_json::to_value(event).expect("JSON");
        let name = json[tag].as_str().expect("a name").to_owned();
        let meaning = meanings.get(&name).unwrap_or_else(|| panic!("no words about {name}"));
        let words = line(event).map_or_else(String::new, |l| format!("{} {}", l.verb, l.what));
        let words = words.trim().replace('|', "\\|");
        writeln!(text, "| `{name}` | {meaning} | `{json}` | {words} |").expect("a string");
        assert_eq!(serde_json::from_value::<Event>(json).expect("an event"), *event);
        assert!(seen.insert(name.clone()), "{name} twice");
    }
    let known = match tag {
        "event" => names::<Event>(tag),
        "step" => names::<Did>(tag),
        "fact" => names::<Fact>(tag),
        _ => names::<Finding>(tag),
    };
    assert_eq!(seen, known, "every {tag} has an example");
    text
}

#[test]
fn every_event_is_documented() {
    let step = |did| Event::StepDone { seconds: 0.5, did };
    let mut page = INTRODUCTION.to_owned();
    page += &format!("\nThe schema is {SCHEMA}.\n");
    page += &table(("Events", "event"), &events(), "pub enum Event");
    let done: Vec<Event> = steps().into_iter().map(step).collect();
    page += &table(("Steps that are done", "step"), &done, "steps!");
    let facts: Vec<Event> = facts().into_iter().map(Event::Fact).collect();
    page += &table(("Facts", "fact"), &facts, "pub enum Fact");
    let findings: Vec<Event> = findings().into_iter().map(Event::Finding).collect();
    page += &table(("Findings", "finding"), &findings, "pub enum Finding");
    expectorate::assert_contents("../../docs/events.md", &page);
}
