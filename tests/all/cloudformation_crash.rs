//! Stacks whose cloud is killed, at every event and before every record.
//!
//! The killed process is this test itself, started again: a fault aborts it at the n-th point. The
//! parent then opens what the disk has and goes on.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::json;
use steppe_cloud::kernel::cloud::Cloud;
use steppe_cloud::services::cloudformation::resume;
use tempfile::TempDir;

use crate::cloudformation_account::{call, config, inventory, request, settle};

/// Tells the child where and what; the parent has neither.
const STATE: &str = "STEPPE_TEST_CRASH_STATE";
const OPERATION: &str = "STEPPE_TEST_CRASH_OPERATION";

const OLD: &str = "Resources:
  B: { Type: 'AWS::S3::Bucket', Properties: { BucketName: crash-data } }
  G: { Type: 'AWS::Logs::LogGroup', DependsOn: B, Properties: { LogGroupName: old } }
  T: { Type: 'AWS::SNS::Topic', DependsOn: B, Properties: { TopicName: t } }
";
/// Another group in the place of the old, one topic changed, one new.
const NEW: &str = "Resources:
  B: { Type: 'AWS::S3::Bucket', Properties: { BucketName: crash-data } }
  G: { Type: 'AWS::Logs::LogGroup', DependsOn: B, Properties: { LogGroupName: new } }
  T: { Type: 'AWS::SNS::Topic', DependsOn: B, Properties: { TopicName: t, DisplayName: d } }
  U: { Type: 'AWS::SNS::Topic', DependsOn: G, Properties: { TopicName: u } }
";
/// The name belongs to somebody else, so the operation fails after the rest is made.
const CONFLICT: &str = "  X: { Type: 'AWS::Logs::LogGroup', DependsOn: [T, G], Properties: { LogGroupName: foreign } }\n";
const FOREIGN: &str =
    "Resources:\n  F: { Type: 'AWS::Logs::LogGroup', Properties: { LogGroupName: foreign } }\n";

/// What is killed.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    operation: &'static str,
    template: &'static str,
    conflict: bool,
    /// Whether the stack is there before.
    old: bool,
}

fn open(state: &Path) -> Arc<Cloud> {
    Cloud::open(config(state)).expect("opens")
}

async fn order(cloud: &Arc<Cloud>, operation: &str, template: &str) {
    let params = match operation {
        "DeleteStack" => json!({ "StackName": "s" }),
        _ => request("s", template, json!({})),
    };
    call(cloud, operation, params).await.expect("accepted");
    for (id, _) in cloud.services.cloudformation.stacks.all() {
        settle(cloud, &id).await;
    }
}

fn template_of(case: &Case) -> String {
    format!("{}{}", case.template, if case.conflict { CONFLICT } else { "" })
}

/// The child: does the operation, unless the fault ends it before.
fn be_killed(case: &Case, state: &Path) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let cloud = open(state);
        order(&cloud, case.operation, &template_of(case)).await;
    });
}

/// A state folder with what is there before the operation.
fn prepared(case: &Case, runtime: &tokio::runtime::Runtime) -> (TempDir, BTreeSet<String>) {
    let state = TempDir::new().expect("a folder");
    let cloud = open(state.path());
    let foreign = request("foreign", FOREIGN, json!({}));
    let everything = runtime.block_on(async {
        let made = call(&cloud, "CreateStack", foreign).await.expect("accepted");
        settle(&cloud, made["StackId"].as_str().expect("an ID")).await;
        if case.old {
            order(&cloud, "CreateStack", OLD).await;
        }
        inventory(&cloud)
    });
    (state, everything)
}

/// Runs the test in a child that is killed at the n-th `point`; whether it was.
fn killed(case: &Case, test: &str, state: &Path, point: &str, n: u64) -> bool {
    let rule = json!({ "service": "cloudformation", "operation": point, "from_call": n, "effect": "kill" });
    let file = state.join("faults.json");
    std::fs::write(&file, json!({ "rules": [rule] }).to_string()).expect("written");
    let child = Command::new(std::env::current_exe().expect("own path"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(STATE, state)
        .env(OPERATION, case.name)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .expect("a child");
    std::fs::remove_file(&file).expect("removed");
    if child.status.success() {
        return false;
    }
    use std::os::unix::process::ExitStatusExt;
    let said = String::from_utf8_lossy(&child.stderr).into_owned();
    assert!(child.status.signal().is_some(), "the child failed by itself:\n{said}");
    true
}

/// Opens the cloud again and lets it end what was under way; the status of the stack.
fn resumed(state: &Path, runtime: &tokio::runtime::Runtime) -> (Arc<Cloud>, Option<String>) {
    let cloud = open(state);
    runtime.block_on(async {
        resume(&cloud);
        for (id, _) in cloud.services.cloudformation.stacks.all() {
            settle(&cloud, &id).await;
        }
    });
    let stacks = cloud.services.cloudformation.stacks.all();
    let status = stacks.iter().find(|(_, s)| s.name == "s").map(|(_, s)| s.status.clone());
    (cloud, status)
}

fn check(case: Case, test: &str, allowed: &[(&str, Outcome)]) {
    if let Ok(state) = std::env::var(STATE) {
        if std::env::var(OPERATION).is_ok_and(|name| name == case.name) {
            be_killed(&case, Path::new(&state));
        }
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for point in ["StackEvent", "StackRecord"] {
        let mut n = 1;
        loop {
            let (state, before) = prepared(&case, &runtime);
            if !killed(&case, test, state.path(), point, n) {
                break;
            }
            let at = format!("{} killed at {point} {n}", case.name);
            let (cloud, status) = resumed(state.path(), &runtime);
            let status = status.unwrap_or_else(|| "NONE".to_owned());
            let outcome = allowed.iter().find(|(s, _)| *s == status);
            let (_, outcome) = outcome.unwrap_or_else(|| panic!("{at}: {status}"));
            let now = inventory(&cloud);
            match outcome {
                Outcome::Before => assert_eq!(now, before, "{at}: {status}"),
                Outcome::OnlyForeign => {
                    assert_eq!(now, BTreeSet::from(["groups foreign".to_owned()]), "{at}");
                }
                Outcome::New => assert!(
                    now.contains("groups new") && !now.contains("log_groups old"),
                    "{at}: {now:?}"
                ),
                Outcome::Old => assert!(now.contains("groups old"), "{at}: {now:?}"),
            }
            // Whatever it ended in, it can be deleted, and then nothing of it is left.
            if !matches!(status.as_str(), "NONE" | "DELETE_COMPLETE") {
                runtime.block_on(order(&cloud, "DeleteStack", ""));
                let left = inventory(&cloud).into_iter().collect::<Vec<_>>();
                assert_eq!(left, ["groups foreign"], "{at}, then deleted");
            }
            n += 1;
        }
        assert!(n > 5, "{}: there were only {n} of {point}", case.name);
    }
}

/// What an account has afterwards.
enum Outcome {
    Before,
    OnlyForeign,
    Old,
    New,
}

#[test]
fn a_creation_that_is_killed_is_undone() {
    let case = Case {
        name: "create",
        operation: "CreateStack",
        template: OLD,
        conflict: false,
        old: false,
    };
    let allowed = [
        ("NONE", Outcome::OnlyForeign),
        ("ROLLBACK_COMPLETE", Outcome::OnlyForeign),
        ("CREATE_COMPLETE", Outcome::Old),
    ];
    check(case, "cloudformation_crash::a_creation_that_is_killed_is_undone", &allowed);
}

#[test]
fn a_rollback_that_is_killed_goes_on() {
    let case = Case {
        name: "rollback",
        operation: "CreateStack",
        template: OLD,
        conflict: true,
        old: false,
    };
    let allowed = [("NONE", Outcome::OnlyForeign), ("ROLLBACK_COMPLETE", Outcome::OnlyForeign)];
    check(case, "cloudformation_crash::a_rollback_that_is_killed_goes_on", &allowed);
}

#[test]
fn an_update_that_is_killed_is_undone_or_ended() {
    let case = Case {
        name: "update",
        operation: "UpdateStack",
        template: NEW,
        conflict: false,
        old: true,
    };
    let allowed = [
        ("CREATE_COMPLETE", Outcome::Before),
        ("UPDATE_ROLLBACK_COMPLETE", Outcome::Before),
        ("UPDATE_COMPLETE", Outcome::New),
    ];
    check(case, "cloudformation_crash::an_update_that_is_killed_is_undone_or_ended", &allowed);
}

#[test]
fn an_updates_rollback_that_is_killed_goes_on() {
    let case = Case {
        name: "update-rollback",
        operation: "UpdateStack",
        template: NEW,
        conflict: true,
        old: true,
    };
    let allowed =
        [("CREATE_COMPLETE", Outcome::Before), ("UPDATE_ROLLBACK_COMPLETE", Outcome::Before)];
    check(case, "cloudformation_crash::an_updates_rollback_that_is_killed_goes_on", &allowed);
}

#[test]
fn a_deletion_that_is_killed_goes_on() {
    let case = Case {
        name: "delete",
        operation: "DeleteStack",
        template: OLD,
        conflict: false,
        old: true,
    };
    let allowed = [("CREATE_COMPLETE", Outcome::Old), ("DELETE_COMPLETE", Outcome::OnlyForeign)];
    check(case, "cloudformation_crash::a_deletion_that_is_killed_goes_on", &allowed);
}
