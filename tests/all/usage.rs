//! What roles used, and whether the smallest policies really let them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::checkout::Checkout;
use crate::signed_client::Signed;

#[test]
fn the_smallest_policies_allow_what_was_used_and_nothing_else() {
    let checkout = Checkout::new();
    checkout.done(&["deploy"]);
    let told = checkout.done(&["iam"]);
    assert!(
        told.out.contains("never used") && told.out.contains("smallest policy"),
        "{}",
        told.out
    );
    let usage = checkout.result(&["iam"]);
    let roles = usage["roles"].as_array().expect("roles");
    let by_name = |ending: &str| {
        let found = roles.iter().find(|r| r["role"].as_str().is_some_and(|n| n.ends_with(ending)));
        found.unwrap_or_else(|| panic!("no role {ending}: {usage:#}"))
    };
    let predictor = by_name("predictor");
    assert_eq!(predictor["denied"], json!([]));
    let stored = |used: &&Value| used["action"] == "s3:PutObject" && used["calls"] != 0;
    assert!(predictor["actions"].as_array().expect("actions").iter().any(|u| stored(&u)));
    let cloud = Signed::of(&checkout.path().join("local"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for role in roles.iter().filter(|role| !role["policy"].is_null()) {
        let policy = &role["policy"];
        let simulated = |action: &str, resource: &str| {
            runtime.block_on(decision(&cloud, policy, action, resource))
        };
        for used in role["actions"].as_array().expect("actions") {
            let action = used["action"].as_str().expect("an action");
            for resource in used["resources"].as_array().expect("resources") {
                let resource = resource.as_str().expect("an ARN");
                assert_eq!(
                    simulated(action, resource),
                    "allowed",
                    "{used} on {resource}: {policy}"
                );
            }
            if used["calls"] == 0 && !policy.to_string().contains(action) {
                assert_eq!(simulated(action, "*"), "implicitDeny", "{action}: {policy}");
            }
        }
        assert_eq!(simulated("s3:DeleteBucket", "*"), "implicitDeny");
    }
    checkout.done(&["destroy", "--yes"]);
}

/// What IAM decides on an action that was used, under the conditions of the policy.
async fn decision(cloud: &Signed, policy: &Value, action: &str, resource: &str) -> String {
    let document = policy.to_string();
    let mut form = vec![
        ("Action".to_owned(), "SimulateCustomPolicy".to_owned()),
        ("Version".to_owned(), "2010-05-08".to_owned()),
        ("PolicyInputList.member.1".to_owned(), document),
        ("ActionNames.member.1".to_owned(), action.to_owned()),
        ("ResourceArns.member.1".to_owned(), resource.to_owned()),
    ];
    for (number, (key, value)) in context(policy, action).into_iter().enumerate() {
        let entry = format!("ContextEntries.member.{}", number + 1);
        form.push((format!("{entry}.ContextKeyName"), key));
        form.push((format!("{entry}.ContextKeyType"), "string".to_owned()));
        form.push((format!("{entry}.ContextKeyValues.member.1"), value));
    }
    let form: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let body = crate::signed::encoded(&form);
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let answer = cloud.send("iam", "POST", "/", &headers, body).await.expect("answered");
    let text = answer.text();
    crate::signed_client::between(&text, "<EvalDecision>", "</EvalDecision>")
        .unwrap_or(&text)
        .to_owned()
}

/// Values that the conditions on an action ask for.
fn context(policy: &Value, action: &str) -> BTreeMap<String, String> {
    let mut asked = BTreeMap::new();
    for statement in policy["Statement"].as_array().expect("statements") {
        let named = statement["Action"].as_array().expect("actions").iter().any(|a| a == action);
        let conditions = statement["Condition"].as_object().into_iter().flatten();
        for (_, keys) in conditions.filter(|_| named) {
            for (key, values) in keys.as_object().expect("keys") {
                let value = values.as_str().or_else(|| values[0].as_str()).expect("a value");
                asked.insert(key.clone(), value.replace('*', "x"));
            }
        }
    }
    asked
}
