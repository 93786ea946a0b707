//! A deployment by somebody who may do exactly what `doctor` prints, in an environment of kind
//! `aws` whose endpoint is the embedded cloud.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::checkout::{Checkout, Said};
use crate::signed_client::{Signed, between};
use crate::tools::whole_xtask;
use crate::workspace::workspace;

const ACCOUNT: &str = "000000000000";

/// The command line that can deploy to AWS, and where it works.
struct Tool {
    binary: PathBuf,
    checkout: Checkout,
    folder: PathBuf,
}

/// Runs it with a caller's variables.
fn done(tool: &Tool, keys: &[(&str, String)], arguments: &[&str]) -> Said {
    let said = run(tool, keys, arguments);
    assert_eq!(said.code, Some(0), "{arguments:?}\n{}\n{}", said.out, said.err);
    said
}

/// The same, however it ends.
fn run(tool: &Tool, keys: &[(&str, String)], arguments: &[&str]) -> Said {
    let mut command = tool.checkout.command_of(&tool.binary, arguments);
    command.current_dir(&tool.folder);
    command.envs(keys.iter().map(|(name, value)| (name, value)));
    Said::of(&mut command)
}

/// The keys of a new role that has these policies and nothing else.
async fn keys_under(
    client: &Signed,
    name: &str,
    policies: &[Value],
    endpoint: &str,
) -> Vec<(&'static str, String)> {
    let root = format!("arn:aws:iam::{ACCOUNT}:root");
    let trust = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Principal": { "AWS": root }, "Action": "sts:AssumeRole" }
    ] });
    let trust = trust.to_string();
    let role = ("RoleName", name);
    let iam = async |operation: &str, params: &[(&str, &str)]| {
        let answer = client.query("iam", operation, "2010-05-08", params).await.expect("answered");
        assert!(answer.is_ok(), "{}", answer.text());
    };
    iam("CreateRole", &[role, ("AssumeRolePolicyDocument", &trust)]).await;
    for (n, policy) in policies.iter().enumerate() {
        let (label, text) = (format!("p{n}"), policy.to_string());
        iam("PutRolePolicy", &[role, ("PolicyName", &label), ("PolicyDocument", &text)]).await;
    }
    let arn = format!("arn:aws:iam::{ACCOUNT}:role/{name}");
    let session = [("RoleArn", arn.as_str()), ("RoleSessionName", "deployment")];
    let assumed = client.query("sts", "AssumeRole", "2011-06-15", &session).await;
    let text = assumed.expect("answered").text();
    let element = |name: &str| {
        let found = between(&text, &format!("<{name}>"), &format!("</{name}>"));
        found.unwrap_or_else(|| panic!("{name} in {text}")).to_owned()
    };
    vec![
        ("AWS_ENDPOINT_URL", endpoint.to_owned()),
        ("AWS_ACCESS_KEY_ID", element("AccessKeyId")),
        ("AWS_SECRET_ACCESS_KEY", element("SecretAccessKey")),
        ("AWS_SESSION_TOKEN", element("SessionToken")),
    ]
}

/// A running cloud, its administrator, and what `doctor` prints for an environment in it.
struct Scene {
    tool: Tool,
    client: Signed,
    endpoint: String,
    policies: Vec<Value>,
}

impl Scene {
    fn start(binary: PathBuf) -> Self {
        let checkout = Checkout::new();
        let folder = workspace(&checkout.path().join("workspace"));
        checkout.done(&["local", "start"]);
        let exported = checkout.done(&["local", "env"]).out;
        let value = |name: &'static str| {
            let found = between(&exported, &format!("{name}="), "\n");
            (name, found.unwrap_or_else(|| panic!("{name} in {exported}")).to_owned())
        };
        let names = ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
        let administrator = names.map(value);
        let client = Signed::of(&checkout.path().join("local"));
        let tool = Tool { binary, checkout, folder };
        let printed = done(&tool, &administrator, &["doctor", "--env", "dev"]).out;
        let documents = printed.find("{\n").map(|at| &printed[at..]).expect("a document");
        let policies = serde_json::Deserializer::from_str(documents).into_iter::<Value>();
        let policies = policies.collect::<Result<_, _>>().expect("JSON");
        let endpoint = administrator[0].1.clone();
        Self { tool, client, endpoint, policies }
    }

    /// The policies without one action.
    fn without(&self, action: &str) -> Vec<Value> {
        let mut policies = self.policies.clone();
        let statements = policies.iter_mut().filter_map(|p| p["Statement"].as_array_mut());
        let mut found = 0;
        for statement in statements.flatten() {
            let actions = statement["Action"].as_array_mut().expect("actions");
            let before = actions.len();
            actions.retain(|a| a != action);
            found += before - actions.len();
        }
        assert_eq!(found, 1, "{action}");
        policies
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_that_doctor_prints_is_enough() {
    let Some(whole) = whole_xtask() else { return };
    let scene = Scene::start(whole);
    let keys = keys_under(&scene.client, "person", &scene.policies, &scene.endpoint).await;
    let verb = |arguments: &[&str]| done(&scene.tool, &keys, arguments);
    assert!(verb(&["deploy", "--env", "dev", "--yes"]).err.contains("deployed"));
    assert!(verb(&["smoke-test", "--env", "dev"]).out.contains("20 forecasts"));
    assert!(verb(&["destroy", "--env", "dev", "--yes"]).err.contains("nothing left"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_right_that_cloudformation_needs_a_deployment_fails_and_is_undone() {
    let Some(whole) = whole_xtask() else { return };
    let scene = Scene::start(whole);
    for (name, action, words) in [
        ("no-roles", "iam:CreateRole", "is not authorized to perform: iam:CreateRole"),
        (
            "no-functions",
            "lambda:CreateFunction",
            "because no identity-based policy allows the lambda:CreateFunction action",
        ),
    ] {
        let keys = keys_under(&scene.client, name, &scene.without(action), &scene.endpoint).await;
        let said = run(&scene.tool, &keys, &["deploy", "--env", "dev", "--yes"]);
        assert_ne!(said.code, Some(0), "{action}\n{}\n{}", said.out, said.err);
        let all = format!("{}{}", said.out, said.err);
        assert!(all.contains(words), "{all}");
        assert!(all.contains("ROLLBACK_COMPLETE") || all.contains("rolled back"), "{all}");
    }
}
