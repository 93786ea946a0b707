//! The Glue job that cleans the raw data, with its tables and its state.

use serde_json::json;
use steppe_wire::keys;

use super::tables::tables;
use super::{Component, Cost, Fragment, Stack, writes_logs};
use crate::grants::{Cfn, Grant, Role, Statement};
use crate::made::Made;
use crate::smoke_test::{Check, CheckKind};
use crate::workflow::{Links, Retry, Segment, Slot, State, Task, jsonata};

const ROLE: &str = "CleanRole";
/// Longest run of the job.
const TIMEOUT_MINS: u32 = 30;
/// Tries to start the job while another one of it runs.
const START_TRIES: u32 = TIMEOUT_MINS * 60 / START_SECS;
/// Seconds between them.
const START_SECS: u32 = 5;
/// Price of a worker of the type G.1X, which is one DPU, for an hour, in US dollars; every run is
/// billed for a minute at least. <https://aws.amazon.com/glue/pricing/>
const WORKER_HOUR_USD: f64 = 0.44;

pub(super) fn component(stack: &Stack<'_>, _others: &[Component]) -> Option<Component> {
    let names = stack.spec.names;
    let workers = stack.spec.manifest.stack.etl_workers;
    let log_prefix = names.log_prefix();
    let groups = ["output", "error"].map(|stream| format!("{log_prefix}/clean/{stream}"));
    let [output, error] = &groups;
    let shown = [("CleanLogsOutput", output), ("CleanLogsError", error)]
        .map(|(id, name)| json!({ "id": id, "name": name }));
    let context = json!({
        "groups": shown,
        "workers": workers,
        "timeout_mins": TIMEOUT_MINS,
        "script_key": keys::glue_script(&stack.spec.hashes.glue_script),
        "plan_key": keys::etl_plan(&stack.spec.hashes.etl_plan),
    });
    Some(Component {
        name: "cleaning",
        resources: vec![Fragment::new("cleaning.yaml.tera", context)],
        tables: tables(stack),
        segments: vec![segment(stack)],
        roles: vec![Role::new(ROLE, "clean", "glue.amazonaws.com")],
        grants: grants(stack),
        outputs: vec![
            ("GlueJobName", Cfn::reference("CleanJob")),
            ("CleanLogGroup", Cfn::reference("CleanLogsOutput")),
            ("CleanErrorLogGroup", Cfn::reference("CleanLogsError")),
        ],
        checks: Some(|_| Ok(vec![Check::new("row counts", CheckKind::RowCounts)])),
        made: Made {
            log_groups: groups.to_vec(),
            jobs: vec![format!("{}-clean", names.stack())],
            ..Made::default()
        },
        cost: Cost { run: f64::from(workers) * WORKER_HOUR_USD / 60.0, ..Cost::default() },
        ..Component::default()
    })
}

fn grants(stack: &Stack<'_>) -> Vec<Grant> {
    let names = stack.spec.names;
    let artifacts = format!("arn:${{AWS::Partition}}:s3:::{}", names.artifacts_bucket());
    let in_data = |path: &str| Cfn::sub(format!("${{DataBucket.Arn}}/{path}"));
    // Hadoop looks at a folder as `x`, as `x/`, and at what is in it; Spark marks folders with
    // objects of a name of their own, beside the folder.
    let written = ["processed", "rejects", "reports"]
        .iter()
        .flat_map(|folder| [in_data(folder), in_data(&format!("{folder}/*"))])
        .chain([in_data("*_$folder$")]);
    let read =
        [Cfn::sub(format!("{artifacts}/glue/*")), in_data(&format!("raw/{}/*", names.pipeline))];
    let read = Statement::on_buckets("ReadPlanAndInput", &["s3:GetObject"], &read);
    let write = [
        "s3:GetObject",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:AbortMultipartUpload",
        "s3:ListMultipartUploadParts",
    ];
    let write = Statement::on_buckets("WriteResults", &write, &written.collect::<Vec<_>>());
    // Without a condition on the prefix: a look at an object that is not there names no prefix,
    // and S3 says "not found" only to those who may list the bucket; to others it is a denial.
    let list = ["s3:ListBucket", "s3:ListBucketMultipartUploads"];
    let buckets = [Cfn::arn("DataBucket"), Cfn::sub(artifacts)];
    let list = Statement::on_buckets("SeeWhatIsMissing", &list, &buckets);
    let logs = writes_logs(ROLE, &["CleanLogsOutput", "CleanLogsError"]);
    let run = ["glue:StartJobRun", "glue:GetJobRun", "glue:GetJobRuns", "glue:BatchStopJobRun"];
    let job = "arn:${AWS::Partition}:glue:${AWS::Region}:${AWS::AccountId}:job/${CleanJob}";
    let run = Statement::allow("RunCleaning", &run, &[Cfn::sub(job)]);
    let own = [read, write, list].map(|statement| Grant { role: ROLE, statement });
    let workflow = Grant { role: super::workflow::ROLE, statement: run };
    own.into_iter().chain([logs, workflow]).collect()
}

fn segment(stack: &Stack<'_>) -> Segment {
    let partition = stack.spec.names.partition().to_owned();
    let asked = "$states.context.Execution.Input";
    let named = format!("$distinct([{asked}.series])");
    let given =
        |then: &str, else_: &str| jsonata(&format!("$exists({asked}.series) ? {then} : {else_}"));
    // What later states count with; the input may name one series or several, and a model.
    let assign = json!({
        "series": given(&format!("[{named}]"), "[]"),
        "named": jsonata(&format!("$exists({asked}.series) and $count([{asked}.series]) > 0")),
        "all": given(&format!("$count({named})"), "0"),
        "model_version":
            jsonata(&format!("$exists({asked}.model_version) ? {asked}.model_version : null")),
        "training": null,
        "token": null,
        "done": 0,
        "absent": 0,
        "left_out": [],
        "forecasts": [],
    });
    let states = move |links: &Links| {
        let job = json!({ "JobName": "${CleanJob}" });
        let clean = Task {
            assign: assign.clone(),
            output: json!({}),
            retry: vec![
                // Another run cleans, which takes at most as long as this one may.
                Retry::regularly(
                    &["Glue.ConcurrentRunsExceededException"],
                    START_SECS,
                    START_TRIES,
                ),
                Retry::patiently(&["Glue.AWSGlueException"], 5, 6),
            ],
            ..Task::new(&partition, "glue:startJobRun.sync", job, links.onward.clone())
        };
        vec![("Clean", State::Task(clean))]
    };
    Segment {
        machine: super::workflow::MACHINE,
        slot: Slot::Prepare,
        entry: "Clean",
        when: None,
        states: Box::new(states),
        substitutions: vec![("CleanJob", Cfn::reference("CleanJob"))],
        secs_max: 2 * TIMEOUT_MINS * 60,
    }
}
