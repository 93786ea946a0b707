//! Athena's look at the clean table: what it has is forecast, page by page, and a run on an empty
//! table ends.

use serde_json::{Value, json};
use steppe_wire::keys;

use super::training::data_prefix;
use super::workflow::{MACHINE, ROLE};
use super::{Component, Stack};
use crate::grants::{Cfn, Grant, Statement};
use crate::payload::PAGE_ROWS;
use crate::workflow::{
    Branch, Choice, Fail, Links, Next, Retry, Segment, Slot, State, Task, jsonata,
};

pub(super) fn component(stack: &Stack<'_>, _others: &[Component]) -> Option<Component> {
    let manifest = stack.spec.manifest;
    let segments = || match manifest.task().forecast() {
        Some(entry) if manifest.scores_batches() => {
            let series = format!("count(DISTINCT \"{}\")", entry.task.series);
            vec![counted(stack, &series)]
        }
        Some(entry) => vec![first_page(stack, &entry.task.series), next_pages(stack)],
        None => vec![counted(stack, "count(*)")],
    };
    stack.spec.manifest.stack.verify.then(|| Component {
        name: "verification",
        segments: segments(),
        grants: grants(stack).map(|statement| Grant { role: ROLE, statement }).to_vec(),
        ..Component::default()
    })
}

fn grants(stack: &Stack<'_>) -> [Statement; 7] {
    let account = "${AWS::Region}:${AWS::AccountId}";
    let athena = |what: &str| Cfn::sub(format!("arn:${{AWS::Partition}}:athena:{account}:{what}"));
    let glue = |what: &str| Cfn::sub(format!("arn:${{AWS::Partition}}:glue:{account}:{what}"));
    let run = [
        "athena:StartQueryExecution",
        "athena:StopQueryExecution",
        "athena:GetQueryExecution",
        "athena:GetQueryResults",
    ];
    let keep =
        ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"];
    // Athena asks for the database `default` whatever a query reads.
    let catalogue = [
        glue("catalog"),
        glue("database/default"),
        glue("database/${Database}"),
        glue(&format!("table/${{Database}}/{}", stack.spec.manifest.source().name)),
    ];
    let bucket = [Cfn::arn("DataBucket")];
    let list = ["s3:ListBucket", "s3:ListBucketMultipartUploads"];
    let results = [Cfn::sub(format!("${{DataBucket.Arn}}/{}*", keys::ATHENA_PREFIX))];
    let data = [Cfn::sub(format!("${{DataBucket.Arn}}/{}*", data_prefix(stack)))];
    [
        Statement::allow("RunQueries", &run, &[athena("workgroup/${WorkGroup}")]),
        Statement::allow(
            "ReadDataCatalogue",
            &["athena:GetDataCatalog"],
            &[athena("datacatalog/AwsDataCatalog")],
        ),
        Statement::allow(
            "ReadCatalogue",
            &["glue:GetDatabase", "glue:GetTable", "glue:GetPartitions"],
            &catalogue,
        ),
        Statement::on_buckets("FindBucket", &["s3:GetBucketLocation"], &bucket),
        Statement::on_buckets("ListForQueries", &list, &bucket),
        Statement::on_buckets("ReadForQueries", &["s3:GetObject"], &data),
        Statement::on_buckets("KeepQueryResults", &keep, &results),
    ]
}

/// The result's page whose token is `token`; the first one when there is none.
fn page(partition: &str, token: Option<&str>, assign: Value, next: Next) -> State {
    let mut arguments = json!({ "QueryExecutionId": jsonata("$query") });
    if let Some(token) = token {
        arguments["NextToken"] = jsonata(token);
    }
    arguments["MaxResults"] = json!(PAGE_ROWS);
    State::Task(Task { assign, ..Task::new(partition, "athena:getQueryResults", arguments, next) })
}

/// The first names of series, and how many there are.
fn first_page(stack: &Stack<'_>, series: &str) -> Segment {
    let sql = format!(
        "SELECT \"{series}\", count(*) AS observations, count(*) OVER () AS series_count FROM \
         {} GROUP BY \"{series}\" ORDER BY \"{series}\"",
        stack.spec.manifest.source().name
    );
    let last = PAGE_ROWS - 1;
    let rows = "$states.result.ResultSet.Rows";
    // The first row is the header.
    let read = json!({
        "observations":
            jsonata(&format!("$sum([{rows}[[1..{last}]].Data[1].$number(VarCharValue)])")),
        "all": jsonata(&format!(
            "$named ? $all : $count({rows}) > 1 ? $number({rows}[1].Data[2].VarCharValue) : 0"
        )),
        "series":
            jsonata(&format!("$named ? $series : [{rows}[[1..{last}]].Data[0].VarCharValue]")),
        "token": jsonata(
            "$exists($states.result.NextToken) and $not($named) ? $states.result.NextToken : null",
        ),
    });
    segment(stack, sql, read)
}

/// How many rows there are, and how much of what is scored, unless the run names that.
fn counted(stack: &Stack<'_>, scored: &str) -> Segment {
    let table = stack.spec.manifest.source().name;
    let sql = format!("SELECT count(*) AS observations, {scored} AS scored FROM {table}");
    let count =
        |at: usize| format!("$number($states.result.ResultSet.Rows[1].Data[{at}].VarCharValue)");
    let all = format!("$named ? $all : {}", count(1));
    segment(stack, sql, json!({ "observations": jsonata(&count(0)), "all": jsonata(&all) }))
}

/// A question about the clean table, what is kept of its answer, and an end for an empty one.
fn segment(stack: &Stack<'_>, sql: String, read: Value) -> Segment {
    let partition = stack.spec.names.partition().to_owned();
    let table = stack.spec.manifest.source().name.to_owned();
    let states = move |links: &Links| {
        let arguments = json!({
            "QueryString": sql,
            "QueryExecutionContext": { "Database": "${Database}" },
            "WorkGroup": "${WorkGroup}",
        });
        let busy = ["Athena.TooManyRequestsException", "Athena.AmazonAthenaException"];
        let read_next = Next::to("ReadVerification");
        let verify = Task {
            assign: json!({ "query": jsonata("$states.result.QueryExecution.QueryExecutionId") }),
            retry: vec![Retry::patiently(&busy, 2, 5)],
            ..Task::new(&partition, "athena:startQueryExecution.sync", arguments, read_next)
        };
        let has_data = Choice {
            choices: vec![Branch::when("$observations > 0", links.onward.clone())],
            default: "NoData".to_owned(),
        };
        let empty = json!(format!("the table {table} is empty after cleaning"));
        vec![
            ("Verify", State::Task(verify)),
            ("ReadVerification", page(&partition, None, read.clone(), Next::to("HasData"))),
            ("HasData", State::Choice(has_data)),
            ("NoData", Fail::of("NoData", empty)),
        ]
    };
    Segment {
        machine: MACHINE,
        slot: Slot::Verify,
        entry: "Verify",
        when: None,
        states: Box::new(states),
        substitutions: vec![
            ("Database", Cfn::reference("Database")),
            ("WorkGroup", Cfn::reference("WorkGroup")),
        ],
        secs_max: 0,
    }
}

fn next_pages(stack: &Stack<'_>) -> Segment {
    let partition = stack.spec.names.partition().to_owned();
    let read = json!({
        "series": jsonata("[$states.result.ResultSet.Rows.Data[0].VarCharValue]"),
        "token":
            jsonata("$exists($states.result.NextToken) ? $states.result.NextToken : null"),
    });
    let states = move |links: &Links| {
        let more = page(&partition, Some("$token"), read.clone(), links.onward.clone());
        vec![("ReadMore", more)]
    };
    Segment {
        machine: MACHINE,
        slot: Slot::More,
        entry: "ReadMore",
        when: Some("$token != null"),
        states: Box::new(states),
        substitutions: vec![],
        secs_max: 0,
    }
}
