//! The crawler that finds the table of what was predicted in batches, and the states that
//! start it and wait for it.
//!
//! The table is called by the task, so that it never meets the declared one: a manifest may go from
//! one to the other and back. It is deleted with the database.

use serde_json::json;
use steppe_spec::Catalogue;
use steppe_wire::keys;

use super::workflow::MACHINE;
use super::{Component, Cost, Fragment, Stack, scoring};
use crate::grants::{Cfn, Grant, Role, Statement};
use crate::made::Made;
use crate::smoke_test::{Check, CheckKind};
use crate::workflow::{
    Branch, Choice, Fail, Links, Next, Retry, Segment, Slot, State, Task, Wait, jsonata,
};

const ROLE: &str = "CrawlerRole";
/// What the names of its tables begin with.
const TABLE_PREFIX: &str = "crawled_";
/// What Glue's crawlers log to, all of an account, so that no deployment makes or deletes it.
const LOG_GROUP: &str = "/aws-glue/crawlers";
/// Seconds between looks at a crawl.
const LOOK_SECS: u32 = 5;
/// Longest time until another run's crawl ends.
const OTHERS_SECS: u32 = 900;
/// Longest time of a crawl.
const CRAWL_SECS: u32 = 1_800;
/// Price of a DPU for an hour, in US dollars; every crawl is billed for ten minutes at least.
/// <https://aws.amazon.com/glue/pricing/>
const DPU_HOUR_USD: f64 = 0.44;
/// DPUs of a crawl in AWS's example of a price.
const DPUS: f64 = 2.0;

/// The name of the table that the crawler makes of a folder: hyphens are underscores there.
pub(super) fn crawled(folder: &str) -> String {
    format!("{TABLE_PREFIX}{}", folder.replace('-', "_"))
}

pub(super) fn component(stack: &Stack<'_>, _others: &[Component]) -> Option<Component> {
    let manifest = stack.spec.manifest;
    let wanted = manifest.scores_batches() && manifest.stack.catalogue == Catalogue::Crawler;
    let prefix = keys::batches_prefix(manifest.task().name());
    wanted.then(|| Component {
        name: "crawler",
        resources: vec![Fragment::new(
            "crawler.yaml.tera",
            json!({ "batches": prefix, "table_prefix": TABLE_PREFIX }),
        )],
        segments: vec![segment(stack)],
        roles: vec![Role::new(ROLE, "crawler", "glue.amazonaws.com")],
        grants: grants(stack),
        outputs: vec![("CrawlerName", Cfn::reference("Crawler"))],
        checks: Some(|tested| {
            let twin = scoring::table(tested.manifest);
            let columns = twin.columns.into_iter().map(|column| (column.name, column.r#type));
            let kind = CheckKind::Crawled {
                database: tested.output("DatabaseName")?.to_owned(),
                table: scoring::name(tested.manifest),
                columns: columns.collect(),
            };
            Ok(vec![Check::new("crawled table", kind)])
        }),
        made: Made { crawlers: vec![stack.spec.names.stack()], ..Made::default() },
        cost: Cost { run: DPUS * DPU_HOUR_USD / 6.0, ..Cost::default() },
        ..Component::default()
    })
}

/// A part of what AWS asks for, `AWSGlueServiceRole`: reading and writing this table and nothing
/// else, and never deleting.
/// <https://docs.aws.amazon.com/glue/latest/dg/crawler-prereqs.html>
fn grants(stack: &Stack<'_>) -> Vec<Grant> {
    let folder = keys::batches_prefix(stack.spec.manifest.task().name());
    let prefix = format!("{}*", folder.trim_end_matches('/'));
    let account = "${AWS::Region}:${AWS::AccountId}";
    let glue = |what: &str| Cfn::sub(format!("arn:${{AWS::Partition}}:glue:{account}:{what}"));
    // The name may get a suffix when somebody else has a table of that name.
    let catalogue = [
        glue("catalog"),
        glue("database/${Database}"),
        glue(&format!("table/${{Database}}/{}*", scoring::name(stack.spec.manifest))),
    ];
    let write = [
        "glue:GetDatabase",
        "glue:GetTable",
        "glue:GetTables",
        "glue:CreateTable",
        "glue:UpdateTable",
        "glue:GetPartitions",
        "glue:BatchGetPartition",
        "glue:BatchCreatePartition",
        "glue:UpdatePartition",
    ];
    let logs = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"];
    let group = format!("arn:${{AWS::Partition}}:logs:{account}:log-group:{LOG_GROUP}");
    let group = [Cfn::sub(group.clone()), Cfn::sub(format!("{group}:*"))];
    let list = Statement::on_buckets("ListBatches", &["s3:ListBucket"], &[Cfn::arn("DataBucket")]);
    let batches = [Cfn::sub(format!("${{DataBucket.Arn}}/{prefix}"))];
    let own = [
        list.of_prefixes(&[prefix]),
        Statement::on_buckets("ReadBatches", &["s3:GetObject"], &batches),
        Statement::allow("WriteCatalogue", &write, &catalogue),
        Statement::allow("WriteLogs", &logs, &group),
    ];
    let run = ["glue:StartCrawler", "glue:GetCrawler"];
    let run = Statement::allow("RunCrawler", &run, &[glue("crawler/${Crawler}")]);
    let workflow = Grant { role: super::workflow::ROLE, statement: run };
    own.map(|statement| Grant { role: ROLE, statement }).into_iter().chain([workflow]).collect()
}

/// A crawl that another run began may have looked before this run's files were there, so that it
/// is awaited and not taken for this one's.
fn segment(stack: &Stack<'_>) -> Segment {
    let partition = stack.spec.names.partition().to_owned();
    let states = move |links: &Links| {
        let call = |operation: &str, next: &str| {
            let integration = format!("aws-sdk:glue:{operation}");
            let name = json!({ "Name": "${Crawler}" });
            let busy = ["Glue.GlueException", "Glue.ThrottlingException"];
            Task {
                output: json!({}),
                retry: vec![Retry::patiently(&busy, 2, 5)],
                ..Task::new(&partition, &integration, name, Next::to(next))
            }
        };
        let running = ["Glue.CrawlerRunningException"];
        let mut start = call("startCrawler", "WaitForCrawl");
        start.retry.push(Retry::regularly(&running, LOOK_SECS, OTHERS_SECS / LOOK_SECS));
        let last = "$states.result.Crawler.LastCrawl";
        let look = Task {
            assign: json!({
                "crawling": jsonata("$states.result.Crawler.State != 'READY'"),
                "crawl": jsonata(&format!("$exists({last}.Status) ? {last}.Status : 'none'")),
                "crawl_error": jsonata(&format!(
                    "$exists({last}.ErrorMessage) ? {last}.ErrorMessage : null"
                )),
            }),
            ..call("getCrawler", "Crawled")
        };
        let done = "$not($crawling) and $crawl = 'SUCCEEDED'";
        let crawled = Choice {
            choices: vec![
                Branch::when(done, links.onward.clone()),
                Branch::when("$crawling", Next::to("WaitForCrawl")),
            ],
            default: "CrawlFailed".to_owned(),
        };
        let wait = Wait { seconds: LOOK_SECS, next: Next::to("LookAtCrawl") };
        let cause = jsonata("$crawl_error != null ? $crawl_error : 'the crawl ended as ' & $crawl");
        vec![
            ("StartCrawl", State::Task(start)),
            ("WaitForCrawl", State::Wait(wait)),
            ("LookAtCrawl", State::Task(look)),
            ("Crawled", State::Choice(crawled)),
            ("CrawlFailed", Fail::of("CrawlFailed", cause)),
        ]
    };
    Segment {
        machine: MACHINE,
        slot: Slot::After,
        entry: "StartCrawl",
        when: None,
        states: Box::new(states),
        substitutions: vec![("Crawler", Cfn::reference("Crawler"))],
        secs_max: OTHERS_SECS + CRAWL_SECS,
    }
}
