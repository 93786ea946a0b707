//! The deployer against answers that only AWS gives: old reads, other owners, what is gone already.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;

use crate::middleman::Call;
use crate::through::Through;

fn is(call: &Call, operation: &str) -> bool {
    call.operation() == operation
}

#[test]
fn every_call_on_a_bucket_says_whose_it_must_be() {
    let through = Through::new(|_, _| None);
    through.done(&["deploy"]);
    through.done(&["smoke-test", "Almaty"]);
    through.done(&["destroy", "--yes"]);
    let calls = through.middleman.calls();
    let on_buckets = calls.iter().filter(|c| c.service() == "s3" && c.uri.path() != "/");
    let mut counted = 0;
    for call in on_buckets {
        // There is no owner to expect of a bucket that is made.
        let makes = call.method == "PUT"
            && call.uri.query().is_none_or(|q| q.is_empty())
            && call.uri.path().trim_matches('/').split('/').count() == 1;
        let owner = call.headers.get("x-amz-expected-bucket-owner");
        let owner = owner.map(|v| v.to_str().expect("text"));
        assert_eq!(owner, (!makes).then_some("000000000000"), "{} {}", call.method, call.uri);
        counted += 1;
    }
    assert!(counted > 20, "{counted}");
}

#[test]
fn a_bucket_of_somebody_else_is_neither_written_nor_deleted() {
    let through = Through::new(|call, _| {
        let theirs = call.uri.path().contains("-artifacts-");
        theirs.then(|| (StatusCode::FORBIDDEN, String::new()))
    });
    let said = through.run(&["deploy"]);
    let expected =
        "the bucket steppe-marriages-local-artifacts-000000000000 belongs to another account";
    assert!(said.code == Some(1) && said.err.contains(expected), "{}", said.err);
    through.done(&["destroy", "--yes"]);
    let written = through
        .middleman
        .calls()
        .into_iter()
        .filter(|c| c.uri.path().contains("-artifacts-") && c.method != "HEAD");
    assert_eq!(written.count(), 0);
}

#[test]
fn an_old_read_of_a_stack_is_not_its_verdict() {
    // After an operation has begun, a few reads still say what the stack was before.
    let old: Arc<std::sync::Mutex<Option<String>>> = Arc::default();
    let left = Arc::new(AtomicUsize::new(0));
    let served = Arc::new(AtomicUsize::new(0));
    let (before, reads, stale) = (old.clone(), left.clone(), served.clone());
    let through = Through::new(move |call, answer| {
        if is(call, "ExecuteChangeSet") || is(call, "DeleteStack") {
            reads.store(6, Ordering::SeqCst);
        }
        if !is(call, "DescribeStacks") || !answer.status.is_success() {
            return None;
        }
        let mut before = before.lock().expect("nobody panicked");
        if reads.load(Ordering::SeqCst) == 0 {
            *before = Some(String::from_utf8_lossy(&answer.body).into_owned());
            return None;
        }
        reads.fetch_sub(1, Ordering::SeqCst);
        stale.fetch_add(1, Ordering::SeqCst);
        before.clone().map(|text| (StatusCode::OK, text))
    });
    let made = through.done(&["deploy"]);
    assert!(made.err.contains("created  StateMachine"), "{}", made.err);
    let file = through.checkout.csv(&rows());
    let changed = through.done(&["deploy", "--data", &file]);
    assert!(changed.err.contains("updated  RawMarriages"), "{}", changed.err);
    let gone = through.done(&["destroy", "--yes"]);
    assert!(gone.err.contains("nothing left"), "{}", gone.err);
    assert!(served.load(Ordering::SeqCst) >= 12, "no old read was served");
}

fn rows() -> String {
    let rows = (0..3).flat_map(|s| {
        (2000..2020).map(move |y| format!("R{s},{y},{},x\n", 100 * (s + 1) + (y - 2000)))
    });
    format!("region,year,marriages,remark\n{}", rows.collect::<String>())
}

#[test]
fn a_destruction_goes_on_where_the_state_machines_are_gone_already() {
    let through = Through::new(|call, _| {
        let body =
            r#"{"__type":"StateMachineDoesNotExist","message":"State Machine Does Not Exist"}"#;
        is(call, "ListExecutions").then(|| (StatusCode::BAD_REQUEST, body.to_owned()))
    });
    through.done(&["deploy"]);
    through.done(&["destroy", "--yes"]);
}

#[test]
fn an_execution_that_is_not_known_yet_runs() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let through = Through::new(move |call, _| {
        let body = r#"{"__type":"ExecutionDoesNotExist","message":"Execution Does Not Exist"}"#;
        let early = is(call, "DescribeExecution") && counted.fetch_add(1, Ordering::SeqCst) < 2;
        early.then(|| (StatusCode::BAD_REQUEST, body.to_owned()))
    });
    through.done(&["deploy"]);
    through.done(&["smoke-test", "Almaty"]);
    assert!(asked.load(Ordering::SeqCst) > 2);
}

#[test]
fn a_busy_bucket_and_a_throttled_change_set_are_asked_again() {
    let refused = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let seen = refused.clone();
    let through = Through::new(move |call, _| {
        let configures = call.method == "PUT" && call.uri.query() == Some("policy");
        let mut seen = seen.lock().expect("nobody panicked");
        if configures && seen.insert("policy") {
            let body = "<Error><Code>OperationAborted</Code><Message>A conflicting conditional \
                        operation is currently in progress against this resource. Please try \
                        again.</Message></Error>";
            return Some((StatusCode::CONFLICT, body.to_owned()));
        }
        let next = NAMES.get(seen.len()).copied();
        if is(call, "DescribeChangeSet") && next.is_some_and(|name| seen.insert(name)) {
            let body = "<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code><Message>\
                        Rate exceeded</Message></Error></ErrorResponse>";
            return Some((StatusCode::BAD_REQUEST, body.to_owned()));
        }
        None
    });
    through.done(&["deploy"]);
    assert_eq!(refused.lock().expect("nobody panicked").len(), 6);
}

/// Names to count with.
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

#[test]
fn what_checks_of_a_change_set_found_is_told() {
    let through = Through::new(|call, answer| {
        if is(call, "DescribeChangeSet") {
            let body = "<DescribeChangeSetResponse xmlns=\"http://cloudformation.amazonaws.com/doc/\
                2010-05-15/\"><DescribeChangeSetResult><StackId>arn:aws:cloudformation:us-east-1:\
                000000000000:stack/s/1</StackId><Status>FAILED</Status><StatusReason>The following \
                hook(s)/validation failed: [AWS::EarlyValidation::ResourceExistenceCheck]. To \
                troubleshoot Early Validation errors, use the DescribeEvents API for detailed \
                failure information.</StatusReason></DescribeChangeSetResult>\
                </DescribeChangeSetResponse>";
            return Some((StatusCode::OK, body.to_owned()));
        }
        if is(call, "DescribeEvents") {
            assert!(call.mentions("changeSet%2F"), "{answer:?}", answer = answer.status);
            let body = "<DescribeEventsResponse xmlns=\"http://cloudformation.amazonaws.com/doc/\
                2010-05-15/\"><DescribeEventsResult><OperationEvents><member><LogicalResourceId>\
                CleanRole</LogicalResourceId><ValidationStatus>FAILED</ValidationStatus>\
                <ValidationStatusReason>Resource of type 'AWS::IAM::Role' with identifier \
                'x-clean' already exists.</ValidationStatusReason><ValidationPath>\
                /Resources/CleanRole</ValidationPath></member></OperationEvents>\
                </DescribeEventsResult></DescribeEventsResponse>";
            return Some((StatusCode::OK, body.to_owned()));
        }
        None
    });
    let said = through.run(&["deploy"]);
    let expected = "CleanRole at /Resources/CleanRole: Resource of type 'AWS::IAM::Role' with \
                    identifier 'x-clean' already exists.";
    assert!(said.code == Some(1) && said.err.contains(expected), "{}", said.err);
}

#[test]
fn a_protected_stack_loses_nothing() {
    let through = Through::new(|call, answer| {
        let protects = is(call, "DescribeStacks") && answer.status.is_success();
        let text = String::from_utf8_lossy(&answer.body);
        let mark = "<EnableTerminationProtection>";
        let plain = text.replace(&format!("{mark}false"), &format!("{mark}true"));
        protects.then_some((StatusCode::OK, plain))
    });
    through.done(&["deploy"]);
    let before = through.middleman.calls().len();
    let said = through.run(&["destroy", "--yes"]);
    assert!(said.code == Some(1) && said.err.contains("termination protection"), "{}", said.err);
    let changing = through.middleman.calls().split_off(before).into_iter().filter(|c| {
        c.operation().starts_with("Delete")
            || c.operation().starts_with("Stop")
            || c.method == "DELETE"
    });
    assert_eq!(changing.count(), 0);
    through.checkout.done(&["destroy"]);
}
