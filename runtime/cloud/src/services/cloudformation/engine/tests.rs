//! What no request can bring about within a test's time.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::create_until;
use crate::kernel::cloud::{Cloud, Config};
use crate::kernel::service::{self};
use crate::services::cloudformation::Stack;

const TEMPLATE: &str = "Resources:
  Topic: { Type: 'AWS::SNS::Topic' }
  Handle: { Type: 'AWS::CloudFormation::WaitConditionHandle', DependsOn: Topic }
  Ready: { Type: 'AWS::CloudFormation::WaitCondition', Properties: { Handle: !Ref Handle, Timeout: \
                        '3600' } }
";

fn stack() -> Stack {
    let stack = json!({
        "name": "s", "status": "CREATE_IN_PROGRESS", "reason": null, "template": TEMPLATE,
        "parameters": {}, "tags": null, "created": Timestamp::now(), "updated": null,
        "deleted": null, "outputs": {}, "resources": {}, "before": null, "protected": false,
    });
    serde_json::from_value(stack).expect("a stack")
}

#[tokio::test]
async fn a_creation_that_takes_longer_than_it_may_is_undone() {
    let state = tempfile::TempDir::new().expect("a folder");
    let cloud = Cloud::open(Config {
        state_dir: state.path().to_owned(),
        account: "000000000000".into(),
        region: "us-east-1".into(),
        port: 1,
        engine: "nothing".into(),
        own_binary: "nothing".into(),
    })
    .expect("opens");
    let id = "arn:aws:cloudformation:us-east-1:000000000000:stack/s/1";
    cloud.services.cloudformation.stacks.put(id, stack()).expect("stored");
    // The time is over as soon as the stack waits for its signal.
    let waits = async {
        while !cloud
            .services
            .cloudformation
            .stacks
            .get(id)
            .is_some_and(|s| s.resources.contains_key("Ready"))
        {
            tokio::task::yield_now().await;
        }
    };
    create_until(&cloud, id, waits).await;
    let after = cloud.services.cloudformation.stacks.get(id).expect("the stack");
    assert_eq!(after.status, "ROLLBACK_COMPLETE");
    assert!(cloud.services.sns.topics.all().is_empty());
    let administrator = cloud.identities.administrator();
    let asked = json!({ "StackName": id });
    let told =
        service::call(&cloud, &administrator, "cloudformation", "DescribeStackEvents", &asked)
            .await;
    let told = told.expect("events");
    let reason = |name: &str, status: &str| {
        let events = told["StackEvents"].as_array().into_iter().flatten();
        let is = |e: &&Value| e["LogicalResourceId"] == name && e["ResourceStatus"] == status;
        events.filter(is).find_map(|e| e["ResourceStatusReason"].as_str()).map(str::to_owned)
    };
    assert_eq!(
        reason("s", "ROLLBACK_IN_PROGRESS").as_deref(),
        Some("Stack creation time exceeded the specified timeout. Rollback requested by user.")
    );
    assert_eq!(reason("Ready", "CREATE_FAILED").as_deref(), Some("Resource creation cancelled"));
    let described =
        service::call(&cloud, &administrator, "cloudformation", "DescribeStacks", &asked).await;
    assert_eq!(described.expect("described")["Stacks"][0]["StackStatus"], "ROLLBACK_COMPLETE");
}
