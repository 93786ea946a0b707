//! CloudFormation of the embedded cloud: what templates and requests are refused, change sets, and
//! lists.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cloudformation_account::{Account, TOPIC, request, settle};

#[tokio::test]
async fn early_validation_names_what_is_there_already_and_what_no_property_may_hold() {
    let account = Account::new();
    account.create("first", TOPIC).await;
    let template = format!(
        "{TOPIC}  Group: {{ Type: 'AWS::Logs::LogGroup', Properties: {{ RetentionInDays: 8 }} }}\n"
    );
    let set = account.change_set("second", "CREATE", &template).await.expect("made");
    assert_eq!(
        (set["Status"].as_str(), set["ExecutionStatus"].as_str(), set["StatusReason"].as_str()),
        (
            Some("FAILED"),
            Some("UNAVAILABLE"),
            Some(
                "The following hook(s)/validation failed: \
                 [AWS::EarlyValidation::PropertyValidation, \
                 AWS::EarlyValidation::ResourceExistenceCheck]. To troubleshoot Early Validation \
                 errors, use the DescribeEvents API for detailed failure information."
            )
        )
    );
    let params =
        json!({ "ChangeSetName": set["ChangeSetId"], "Filters": { "FailedEvents": true } });
    let events = account.call("DescribeEvents", params).await.expect("events");
    let events = events["OperationEvents"].as_array().expect("a list").clone();
    let found: Vec<(&str, &str, &str)> = events
        .iter()
        .filter(|e| e["EventType"] == "VALIDATION_ERROR")
        .map(|e| {
            let text = |name: &str| e[name].as_str().unwrap_or_default();
            (text("ValidationName"), text("ValidationPath"), text("ValidationStatusReason"))
        })
        .collect();
    assert_eq!(
        found,
        [
            (
                "PROPERTY_VALIDATION",
                "/Resources/Group/Properties/RetentionInDays",
                "8 is not a valid enum value"
            ),
            (
                "NAME_CONFLICT_VALIDATION",
                "/Resources/Own/Properties/TopicName",
                "Resource of type 'AWS::SNS::Topic' with identifier \
                 'arn:aws:sns:us-east-1:000000000000:own' already exists."
            ),
        ]
    );
    let nothing = account.call("DescribeEvents", json!({})).await.expect_err("refused");
    assert!(nothing.contains("One of ChangeSetName, OperationId or StackName"), "{nothing}");
    // Without a change set the resource itself fails, in the words of its event.
    let (_, status) = account.create("third", &template.replace("own", "third")).await;
    assert_eq!(status, "ROLLBACK_COMPLETE");
    let story = account.story("third").await.join("\n");
    let words = "Group CREATE_FAILED: Properties validation failed for resource Group with \
                 message:\n[#/RetentionInDays: 8 is not a valid enum value]";
    assert!(story.contains(words), "{story}");
}

#[tokio::test]
async fn columns_without_names_and_places_outside_of_s3_are_refused() {
    let account = Account::new();
    let table = |location: &str, column: &str| {
        format!(
            "Resources:\n  D: {{ Type: 'AWS::Glue::Database', Properties: {{ CatalogId: '0', \
             DatabaseInput: {{ Name: cases }} }} }}\n  T: {{ Type: 'AWS::Glue::Table', Properties: \
             {{ CatalogId: '0', DatabaseName: !Ref D, TableInput: {{ Name: t, StorageDescriptor: \
             {{ Location: '{location}', Columns: [{{ Name: '{column}', Type: string }}] }} }} }} }}\n"
        )
    };
    let group = |output: &str| {
        format!(
            "Resources:\n  T: {{ Type: 'AWS::Athena::WorkGroup', Properties: {{ Name: g, \
             WorkGroupConfiguration: {{ ResultConfiguration: {{ OutputLocation: '{output}' }} }} }} }}\n"
        )
    };
    let cases = [
        (
            table("s3://cases/t/", ""),
            "StorageDescriptor/Columns/0/Name: expected minLength: 1, actual: 0",
        ),
        (table("file:///home/u/", "a"), "`file:///home/u/` is not an address in S3"),
        (table("s3://cases/", "a"), "`s3://cases/` is a whole bucket"),
        (table("s3://cases/../x/", "a"), "`s3://cases/../x/` is not a usable key in S3"),
        (group("file:///home/u/"), "OutputLocation: `file:///home/u/` is not an address in S3"),
        (group("/home/u/"), "OutputLocation: `/home/u/` is not an address in S3"),
    ];
    for (template, words) in cases {
        let (id, status) = account.create("s", &template).await;
        let story = account.story(&id).await.join("\n");
        assert_eq!(status, "ROLLBACK_COMPLETE", "{story}");
        assert!(story.contains("T CREATE_FAILED") && story.contains(words), "{story}");
        account.delete("s").await;
    }
    for template in [table("s3://cases/t/", "a"), group("s3://cases/out/")] {
        let (_, status) = account.create("s", &template).await;
        assert_eq!(status, "CREATE_COMPLETE", "{:#?}", account.story("s").await);
        account.delete("s").await;
    }
}

#[tokio::test]
async fn requests_are_refused_by_name_and_repeated_ones_do_nothing() {
    let account = Account::new();
    let refused = |operation: &'static str, params: Value| {
        let account = &account;
        async move { account.call(operation, params).await.expect_err("refused") }
    };
    for option in ["RollbackConfiguration", "ResourceTypes"] {
        let error = refused("CreateStack", request("s", TOPIC, json!({ option: "x" }))).await;
        let words = format!(
            "NotImplemented: The embedded cloud does not implement the parameter {option} of \
             cloudformation:CreateStack."
        );
        assert_eq!(error, words);
    }
    let error = refused("CreateStack", request("../../x", TOPIC, json!({}))).await;
    assert!(
        error.contains(
            "Value '../../x' at 'stackName' failed to satisfy constraint: Member must satisfy \
             regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*"
        ),
        "{error}"
    );
    let long = format!("# {}\n{TOPIC}", "x".repeat(51_200));
    let error = refused("CreateStack", request("s", &long, json!({}))).await;
    assert!(error.contains("Member must have length less than or equal to 51200"), "{error}");
    for operation in ["CreateStackSet", "RegisterType"] {
        let error = refused(operation, json!({ "StackName": "s" })).await;
        let words = format!("does not implement cloudformation:{operation}");
        assert!(error.contains(&words), "{error}");
    }
    // The same request twice makes one stack; another with the same name is refused.
    let token = json!({ "ClientRequestToken": "t-1", "EnableTerminationProtection": true });
    let (id, status) = account.create_with("s", TOPIC, token.clone()).await;
    assert_eq!(status, "CREATE_COMPLETE");
    let again = account.call("CreateStack", request("s", TOPIC, token)).await.expect("the same");
    assert_eq!(again["StackId"], id.as_str());
    let error = refused("CreateStack", request("s", TOPIC, json!({}))).await;
    assert_eq!(error, "AlreadyExistsException: Stack [s] already exists");
    let events = account.call("DescribeStackEvents", json!({ "StackName": "s" })).await;
    assert_eq!(events.expect("events")["StackEvents"][0]["ClientRequestToken"], "t-1");
    let error = refused("DeleteStack", json!({ "StackName": "s" })).await;
    assert!(error.contains("cannot be deleted while TerminationProtection is enabled"), "{error}");
}

#[tokio::test]
async fn parameters_from_ssm_are_looked_up_anew_in_each_operation() {
    let account = Account::new();
    let name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64";
    let template = format!(
        "Parameters:\n  Image: {{ Type: 'AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>', \
         Default: {name} }}\n  Secret: {{ Type: String, NoEcho: true, Default: hidden }}\n\
         Resources:\n  Own: {{ Type: 'AWS::SNS::Topic', Properties: {{ TopicName: own, \
         DisplayName: !Sub '${{Image}} ${{Secret}}' }} }}\n"
    );
    account.create("s", &template).await;
    let described = account.call("DescribeStacks", json!({ "StackName": "s" })).await;
    let parameters = described.expect("described")["Stacks"][0]["Parameters"].clone();
    assert_eq!(
        parameters,
        json!([
            { "ParameterKey": "Image", "ParameterValue": name,
              "ResolvedValue": "ami-0c10bedded0008664" },
            { "ParameterKey": "Secret", "ParameterValue": "****", "ResolvedValue": null },
        ])
    );
    let same = account.change_set("s", "UPDATE", &template).await.expect("made");
    assert_eq!(same["Status"], "FAILED", "nothing has changed yet");
    let script = json!({ "parameters": { name: "ami-0123456789abcdef0" } });
    account.cloud.faults.set(script.to_string().as_bytes()).expect("a script");
    let set = account.change_set("s", "UPDATE", &template).await.expect("made");
    let target = &set["Changes"][0]["ResourceChange"]["Details"][0]["Target"];
    assert_eq!(
        (target["BeforeValue"].as_str(), target["AfterValue"].as_str()),
        (Some("ami-0c10bedded0008664 ****"), Some("ami-0123456789abcdef0 ****"))
    );
}

#[tokio::test]
async fn change_sets_show_new_resources_with_their_properties_on_demand() {
    let account = Account::new();
    let set = account.change_set("s", "CREATE", TOPIC).await.expect("made");
    let change = &set["Changes"][0]["ResourceChange"];
    assert_eq!(change["Action"], "Add");
    let after: Value =
        serde_json::from_str(change["AfterContext"].as_str().expect("a context")).expect("JSON");
    assert_eq!(after, json!({ "Properties": { "TopicName": "own" } }));
    let params = json!({ "ChangeSetName": set["ChangeSetId"] });
    let plain = account.call("DescribeChangeSet", params).await.expect("described");
    assert!(plain["Changes"][0]["ResourceChange"].get("AfterContext").is_none());
    let params = json!({ "ChangeSetName": set["ChangeSetId"], "ClientRequestToken": "once" });
    for _ in 0..2 {
        account.call("ExecuteChangeSet", params.clone()).await.expect("the same request");
    }
    let id = set["StackId"].as_str().expect("an ID");
    assert_eq!(settle(&account.cloud, id).await, "CREATE_COMPLETE");
    let detail = json!({ "StackName": "s", "LogicalResourceId": "Own" });
    let detail = account.call("DescribeStackResource", detail).await.expect("described");
    assert_eq!(detail["StackResourceDetail"]["ResourceStatus"], "CREATE_COMPLETE");
    let summary = account.call("GetTemplateSummary", json!({ "StackName": "s" })).await;
    assert_eq!(summary.expect("a summary")["ResourceTypes"], json!(["AWS::SNS::Topic"]));
}

#[tokio::test]
async fn lists_come_in_pages() {
    let account = Account::new();
    let resources: String = (0..250)
        .map(|n| format!("  R{n}: {{ Type: 'AWS::CloudFormation::WaitConditionHandle' }}\n"))
        .collect();
    let (_, status) = account.create("s", &format!("Resources:\n{resources}")).await;
    assert_eq!(status, "CREATE_COMPLETE");
    let mut names = BTreeSet::new();
    let (mut token, mut pages) = (Value::Null, 0);
    loop {
        let params = json!({ "StackName": "s", "NextToken": token });
        let page = account.call("ListStackResources", params).await.expect("a page");
        let summaries = page["StackResourceSummaries"].as_array().cloned().unwrap_or_default();
        names.extend(summaries.iter().map(|s| s["LogicalResourceId"].to_string()));
        pages += 1;
        token = page["NextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!((names.len(), pages), (250, 3));
    let bad = json!({ "StackName": "s", "NextToken": "x" });
    let error = account.call("ListStackResources", bad).await.expect_err("refused");
    assert_eq!(error, "ValidationError: Invalid NextToken");
}

#[tokio::test]
async fn members_of_properties_that_have_no_effect_here_are_refused_by_name() {
    let account = Account::new();
    for (kind, properties, member) in [
        (
            "AWS::S3::Bucket",
            "LifecycleConfiguration: { Rules: [{ Status: Enabled, Prefix: a, ExpirationInDays: 1, \
             Transitions: [{ StorageClass: GLACIER, TransitionInDays: 1 }] }] }",
            "LifecycleConfiguration/Rules/Transitions",
        ),
        (
            "AWS::S3::Bucket",
            "OwnershipControls: { Rules: [{ ObjectOwnership: ObjectWriter }] }",
            "OwnershipControls/Rules/ObjectOwnership: ObjectWriter",
        ),
        (
            "AWS::Glue::Database",
            "CatalogId: '000000000000', DatabaseInput: { Name: d, LocationUri: 's3://b/' }",
            "DatabaseInput/LocationUri",
        ),
        (
            "AWS::Athena::WorkGroup",
            "Name: g, WorkGroupConfiguration: { PublishCloudWatchMetricsEnabled: true }",
            "WorkGroupConfiguration/PublishCloudWatchMetricsEnabled: true",
        ),
        (
            "AWS::EC2::SecurityGroup",
            "GroupDescription: g, SecurityGroupIngress: [{ IpProtocol: tcp, FromPort: 1, ToPort: \
             1, CidrIpv6: '::/0' }]",
            "SecurityGroupIngress/CidrIpv6",
        ),
    ] {
        let template =
            format!("Resources:\n  R: {{ Type: '{kind}', Properties: {{ {properties} }} }}\n");
        let error = account.change_set("s", "CREATE", &template).await.expect_err("refused");
        let words = format!("R: the embedded cloud does not implement {member} of {kind}");
        assert!(error.ends_with(&words), "{error}");
    }
    // What only describes stays.
    let described = "Resources:\n  R: { Type: 'AWS::EC2::SecurityGroup', Properties: \
                     { GroupDescription: g, SecurityGroupEgress: [{ IpProtocol: tcp, FromPort: 1, \
                     ToPort: 1, CidrIp: 10.0.0.0/8, Description: all }] } }\n";
    let set = account.change_set("s", "CREATE", described).await.expect("made");
    assert_eq!(set["Status"], "CREATE_COMPLETE");
}

#[tokio::test]
async fn a_limit_of_minutes_is_kept_and_must_be_one() {
    let account = Account::new();
    for wrong in [0, -1] {
        let params = request("s", TOPIC, json!({ "TimeoutInMinutes": wrong }));
        let error = account.call("CreateStack", params).await.expect_err("refused");
        let words = format!("Value '{wrong}' at 'timeoutInMinutes' failed to satisfy constraint");
        assert!(error.contains(&words), "{error}");
    }
    let limit = json!({ "TimeoutInMinutes": 5 });
    let (_, status) = account.create_with("s", TOPIC, limit).await;
    assert_eq!(status, "CREATE_COMPLETE");
    let described = account.call("DescribeStacks", json!({ "StackName": "s" })).await;
    assert_eq!(described.expect("described")["Stacks"][0]["TimeoutInMinutes"], 5);
}
