//! A stack of another deployment under our name: no verb changes it, and none shows it as its own.

use axum::http::StatusCode;

use crate::through::Through;

/// What every verb says.
const TOLD: &str = "its tag steppe:environment is `dev-eu`, not `local`";

/// Every verb that speaks to an environment's cloud, with options that ask no question.
const VERBS: [&[&str]; 24] = [
    &["deploy", "--yes"],
    &["deploy", "--dry-run"],
    &["plan"],
    &["destroy", "--yes"],
    &["smoke-test"],
    &["smoke-test", "Almaty"],
    &["model"],
    &["model", "list"],
    &["model", "list", "--json"],
    &["model", "promote", "a"],
    &["model", "rollback"],
    &["retrain"],
    &["redrive"],
    &["drift"],
    &["predict", "Almaty"],
    &["query"],
    &["query", "select 1 as one"],
    &["profile"],
    &["profile", "marriages", "--json"],
    &["status"],
    &["outputs"],
    &["logs", "predictor"],
    &["logs", "clean"],
    &["logs", "server"],
];

/// Verbs that never ask an environment's cloud about a deployment, or the embedded cloud alone.
const ELSEWHERE: [&str; 8] =
    ["render", "train", "pipeline", "local", "console", "iam", "doctor", "help"];

#[test]
fn a_stack_of_another_deployment_is_refused_by_each_verb() {
    let through = Through::new(|call, answer| {
        let text = String::from_utf8_lossy(&answer.body)
            .replace("<Value>local</Value>", "<Value>dev-eu</Value>");
        let describes = call.operation() == "DescribeStacks" && answer.status.is_success();
        describes.then_some((StatusCode::OK, text))
    });
    through.checkout.done(&["deploy"]);
    for verb in VERBS {
        let said = through.run(verb);
        // A program gets the same as fields.
        let (told, hint) = match verb.contains(&"--json") {
            true => (&said.out, "\"hints\":[\"choose another name"),
            false => (&said.err, "hint: choose another name"),
        };
        assert!(said.code == Some(1) && told.contains(TOLD), "{verb:?}\n{told}");
        assert!(told.contains(hint), "{verb:?}\n{told}");
    }
    // A report about data on this machine is made; what is in service there is not in it.
    let evaluated = through.done(&["evaluate"]);
    assert!(evaluated.err.contains("says nothing of a model in service"), "{}", evaluated.err);
    assert!(evaluated.err.contains(TOLD), "{}", evaluated.err);
    let calls = through.middleman.calls();
    assert!(calls.len() > 2 * VERBS.len(), "{}", calls.len());
    for call in calls {
        let operation = call.operation();
        let compares = ["GetCallerIdentity", "DescribeStacks"].contains(&operation.as_str());
        assert!(compares, "{} {} {operation}", call.method, call.uri);
    }
    through.checkout.done(&["destroy"]);
}

/// A verb that is added must be added to the table, or be said to ask no cloud.
#[test]
fn the_table_has_every_verb() {
    let help = crate::checkout::Checkout::new().done(&["--help"]).out;
    let listed = help.split("Commands:").nth(1).and_then(|rest| rest.split("\n\n").next());
    let listed = listed.expect("a list of commands").lines();
    // What a verb does may go on in a line of its own, further in.
    let names = listed.filter_map(|line| line.strip_prefix("  ")).filter(|l| !l.starts_with(' '));
    let verbs: Vec<&str> = names.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(verbs.len() > 15, "{help}");
    for verb in verbs {
        let asks = VERBS.iter().any(|v| v[0] == verb) || verb == "evaluate";
        assert!(asks != ELSEWHERE.contains(&verb), "{verb}");
    }
}
