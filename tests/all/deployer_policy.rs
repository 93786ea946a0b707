//! A deployment by somebody who may do exactly what `doctor` prints, in an environment of kind
//! `aws` whose endpoint is the embedded cloud.

use std::path::Path;

use serde_json::Value;

use crate::checkout::{Checkout, Said};
use crate::signed_client::{Signed, between};
use crate::tools::target_dir;
use crate::workspace::workspace;

const ACCOUNT: &str = "000000000000";

/// Runs the command line in the workspace with a caller's variables.
fn run(checkout: &Checkout, folder: &Path, keys: &[(&str, String)], arguments: &[&str]) -> Said {
    let mut command = checkout.command(arguments);
    command.current_dir(folder).env("CARGO_TARGET_DIR", target_dir());
    command.envs(keys.iter().map(|(name, value)| (name, value)));
    let said = Said::of(&mut command);
    assert_eq!(said.code, Some(0), "{arguments:?}\n{}\n{}", said.out, said.err);
    said
}

/// The keys of a role that has this policy and nothing else.
async fn keys_under(
    client: &Signed,
    policy: &Value,
    endpoint: &str,
) -> Vec<(&'static str, String)> {
    let root = format!("arn:aws:iam::{ACCOUNT}:root");
    let trust = serde_json::json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Principal": { "AWS": root }, "Action": "sts:AssumeRole" }
    ] });
    let (trust, policy) = (trust.to_string(), policy.to_string());
    let role = ("RoleName", "person");
    let create = [role, ("AssumeRolePolicyDocument", trust.as_str())];
    let put = [role, ("PolicyName", "doctor"), ("PolicyDocument", policy.as_str())];
    for (operation, params) in [("CreateRole", &create[..]), ("PutRolePolicy", &put[..])] {
        let answer = client.query("iam", operation, "2010-05-08", params).await.expect("answered");
        assert!(answer.is_ok(), "{}", answer.text());
    }
    let arn = format!("arn:aws:iam::{ACCOUNT}:role/person");
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

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_that_doctor_prints_is_enough() {
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
    let printed = run(&checkout, &folder, &administrator, &["doctor", "--env", "dev"]).out;
    let document = printed.find("{\n").map(|at| &printed[at..]).expect("a document");
    let policy = serde_json::Deserializer::from_str(document).into_iter::<Value>().next();
    let policy = policy.expect("a document").expect("JSON");
    let keys = keys_under(&client, &policy, &administrator[0].1).await;
    let verb = |arguments: &[&str]| run(&checkout, &folder, &keys, arguments);
    assert!(verb(&["deploy", "--env", "dev", "--yes"]).err.contains("deployed"));
    assert!(verb(&["smoke-test", "--env", "dev"]).out.contains("20 forecasts"));
    assert!(verb(&["destroy", "--env", "dev", "--yes"]).err.contains("nothing left"));
}
