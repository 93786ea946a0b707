//! Runs that uploads start. Every object starts an execution; of those that come one after the
//! other, the last one runs, and the others end.

use serde_json::json;
use steppe_spec::Input;
use steppe_wire::keys;

use super::checks::{JOB, ROLE, call, substitutions};
use super::workflow::MACHINE;
use super::{Component, Rule, Stack};
use crate::grants::{Cfn, Grant, Statement};
use crate::workflow::{Branch, Choice, Links, Next, Pass, Segment, Slot, State, Wait, jsonata};

pub(super) fn component(stack: &Stack<'_>, _others: &[Component]) -> Option<Component> {
    let retrain = stack.spec.manifest.retrain.as_ref().filter(|retrain| retrain.on_new_data)?;
    let settle_secs = u32::try_from(retrain.settle.secs()).expect("at most an hour");
    let note = keys::next_run(&stack.spec.names.pipeline);
    let note = [Cfn::sub(format!("${{DataBucket.Arn}}/{note}"))];
    let take = Statement::on_buckets("TakeTurns", &["s3:GetObject", "s3:PutObject"], &note);
    Some(Component {
        name: "uploads",
        segments: vec![segment(stack, settle_secs)],
        rules: vec![rule(stack)],
        grants: vec![Grant { role: ROLE, statement: take }],
        ..Component::default()
    })
}

fn rule(stack: &Stack<'_>) -> Rule {
    let (pipeline, inputs) = (&stack.spec.names.pipeline, &stack.spec.manifest.inputs);
    let of = |input: &Input| json!({ "prefix": keys::raw_prefix(pipeline, &input.name) });
    let raw_keys: Vec<_> = inputs.iter().map(of).collect();
    Rule {
        logical_id: "TrainOnNewData",
        name: "train-on-new-data",
        description: "Runs the pipeline with training when new raw data arrive",
        trigger: json!({ "EventPattern": {
            "source": ["aws.s3"],
            "detail-type": ["Object Created"],
            "detail": {
                "bucket": { "name": [Cfn::reference("DataBucket")] },
                "object": { "key": raw_keys },
            },
        } }),
        on_bucket_events: true,
        machine: MACHINE,
        input: Some(r#"{"train":true,"uploaded":true}"#),
    }
}

fn segment(stack: &Stack<'_>, settle_secs: u32) -> Segment {
    let partition = stack.spec.names.partition().to_owned();
    let states = move |links: &Links| {
        let asked = "$states.context.Execution.Input";
        let other = format!("$not($exists({asked}.uploaded) and {asked}.uploaded = true)");
        let is_no_upload = Choice {
            choices: vec![Branch::when(&other, links.onward.clone())],
            default: "Arrive".to_owned(),
        };
        let has_turn = Choice {
            choices: vec![Branch::when("$superseded_by = null", links.onward.clone())],
            default: "Superseded".to_owned(),
        };
        let superseded = Pass {
            assign: json!(null),
            output: json!({ "superseded_by": jsonata("$superseded_by") }),
            next: Next::End(true),
        };
        let ask = |check: &str, assign, next| {
            let execution = jsonata("$states.context.Execution.Id");
            let payload = json!({ "check": check, "execution": execution });
            call(&partition, (JOB, &payload), assign, Next::to(next))
        };
        let other = json!({ "superseded_by": jsonata("$states.result.Payload.superseded_by") });
        vec![
            ("IsNoUpload", State::Choice(is_no_upload)),
            ("Arrive", ask("arrived", json!(null), "Settle")),
            ("Settle", State::Wait(Wait { seconds: settle_secs, next: Next::to("TakeTurn") })),
            ("TakeTurn", ask("turn", other, "HasTurn")),
            ("HasTurn", State::Choice(has_turn)),
            ("Superseded", State::Pass(superseded)),
        ]
    };
    Segment {
        machine: MACHINE,
        slot: Slot::Gather,
        entry: "IsNoUpload",
        when: None,
        states: Box::new(states),
        substitutions: substitutions(),
        secs_max: settle_secs,
    }
}
