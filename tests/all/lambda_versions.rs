//! Functions by the API: made, changed, published, and invoked by versions and aliases.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use steppe_cloud::kernel::error::ApiResult;
use steppe_cloud::kernel::service;

use crate::in_process::{InProcess, role};

/// A cloud with a function that was made by the API.
struct Api(InProcess);

impl Api {
    async fn new() -> Self {
        let home = InProcess::start().await;
        home.created("s", json!({ "R": role("r", "lambda.amazonaws.com", &["s3:GetObject"]) }))
            .await;
        home.put_package(include_str!("bootstrap.sh"));
        let api = Self(home);
        let own = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
        let params = json!({
            "FunctionName": "f", "Runtime": "provided.al2023", "Handler": "bootstrap",
            "Role": "arn:aws:iam::000000000000:role/r", "Architectures": [own], "Timeout": 20,
            "MemorySize": 256, "Code": { "S3Bucket": "code", "S3Key": "package.zip" },
        });
        let made = api.call("CreateFunction", params).await.expect("made");
        assert_eq!((&made["State"], &made["Version"]), (&json!("Pending"), &json!("$LATEST")));
        api.settle();
        api
    }

    async fn call(&self, operation: &str, params: Value) -> ApiResult {
        let caller = self.0.cloud.identities.administrator();
        service::call(&self.0.cloud, &caller, "lambda", operation, &params).await
    }

    async fn refusal(&self, operation: &str, params: Value) -> (String, String) {
        let error = self.call(operation, params).await.expect_err("refused");
        (error.code, error.message)
    }

    /// Lets a change come to its end.
    fn settle(&self) {
        self.0.cloud.clock.advance(std::time::Duration::from_secs(1));
    }

    async fn change(&self, description: &str) {
        let params = json!({ "FunctionName": "f", "Description": description });
        self.call("UpdateFunctionConfiguration", params).await.expect("changed");
        self.settle();
    }

    async fn publish(&self) -> Value {
        self.call("PublishVersion", json!({ "FunctionName": "f" })).await.expect("published")
    }

    /// The version that answers.
    async fn executed(&self, name: &str) -> String {
        let payload = BASE64.encode("{}");
        let params = json!({ "FunctionName": name, "Payload": payload });
        let answer = self.call("Invoke", params).await.expect("invoked");
        assert_eq!(answer["FunctionError"], Value::Null);
        answer["ExecutedVersion"].as_str().expect("a version").to_owned()
    }
}

#[tokio::test]
async fn a_version_stays_as_it_was_published() {
    let api = Api::new().await;
    let first = api.publish().await;
    assert_eq!(first["FunctionArn"], "arn:aws:lambda:us-east-1:000000000000:function:f:1");
    assert_eq!(api.publish().await["Version"], "1", "nothing has changed");
    api.change("other").await;
    assert_eq!(api.publish().await["Version"], "2");
    let shown = api.call("GetFunctionConfiguration", json!({ "FunctionName": "f:1" })).await;
    assert_eq!(shown.expect("shown")["Description"], "");
    assert_eq!(
        (api.executed("f:1").await, api.executed("f").await),
        ("1".into(), "$LATEST".into())
    );
    let listed = api.call("ListVersionsByFunction", json!({ "FunctionName": "f" })).await;
    let listed = listed.expect("listed")["Versions"].clone();
    let versions: Vec<&Value> =
        listed.as_array().expect("a list").iter().map(|one| &one["Version"]).collect();
    assert_eq!(versions, ["$LATEST", "1", "2"]);
    let delete = json!({ "FunctionName": "f", "Qualifier": "1" });
    api.call("DeleteFunction", delete).await.expect("deleted");
    let (code, _) = api.refusal("GetFunction", json!({ "FunctionName": "f:1" })).await;
    assert_eq!(code, "ResourceNotFoundException");
}

#[tokio::test]
async fn an_alias_divides_invocations_and_keeps_its_versions() {
    let api = Api::new().await;
    api.publish().await;
    api.change("other").await;
    api.publish().await;
    let alias = |name: &str, version: &str, weights: Value| {
        json!({
            "FunctionName": "f", "Name": name, "FunctionVersion": version,
            "RoutingConfig": { "AdditionalVersionWeights": weights },
        })
    };
    let (code, words) = api.refusal("CreateAlias", alias("7", "1", json!({}))).await;
    assert_eq!(code, "ValidationException");
    assert!(words.contains("at 'name' failed"), "{words}");
    let (_, words) = api.refusal("CreateAlias", alias("p", "1", json!({ "1": 0.5 }))).await;
    assert!(words.contains("already included in routing"), "{words}");
    let (code, _) = api.refusal("CreateAlias", alias("p", "9", json!({}))).await;
    assert_eq!(code, "ResourceNotFoundException");
    let made = api.call("CreateAlias", alias("p", "1", json!({ "2": 0.5 }))).await.expect("made");
    assert_eq!(made["AliasArn"], "arn:aws:lambda:us-east-1:000000000000:function:f:p");
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..40 {
        seen.insert(api.executed("f:p").await);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["1", "2"], "with a chance of 2 to the -39");
    let all = json!({ "FunctionName": "f", "Name": "p", "RoutingConfig": {
        "AdditionalVersionWeights": { "2": 1.0 },
    } });
    api.call("UpdateAlias", all).await.expect("changed");
    assert_eq!(api.executed("f:p").await, "2");
    for version in ["1", "2"] {
        let delete = json!({ "FunctionName": "f", "Qualifier": version });
        let (code, words) = api.refusal("DeleteFunction", delete).await;
        assert_eq!(code, "ResourceConflictException", "{words}");
    }
    let stale = json!({ "FunctionName": "f", "Name": "p", "RevisionId": made["RevisionId"] });
    assert_eq!(api.refusal("UpdateAlias", stale).await.0, "PreconditionFailedException");
}

#[tokio::test]
async fn an_invocation_may_be_dry_or_without_a_wait() {
    let api = Api::new().await;
    let invoke = |kind: &str| json!({ "FunctionName": "f", "InvocationType": kind });
    assert_eq!(api.call("Invoke", invoke("DryRun")).await.expect("allowed")["StatusCode"], 204);
    let made = api.0.folder().join("made");
    let event = format!("{{\"do\": \"touch {}\"}}", made.display());
    let mut params = invoke("Event");
    params["Payload"] = BASE64.encode(event).into();
    assert_eq!(api.call("Invoke", params).await.expect("taken")["StatusCode"], 202);
    crate::in_process::until("it is done", || made.exists()).await;
    let tail = json!({ "FunctionName": "f", "LogType": "Tail" });
    let log = api.call("Invoke", tail).await.expect("invoked")["LogResult"].clone();
    let log = BASE64.decode(log.as_str().expect("a log")).expect("base64");
    assert!(String::from_utf8_lossy(&log).contains("REPORT RequestId"), "a tail of the log");
}

#[tokio::test]
async fn tags_of_functions_are_in_the_index() {
    let api = Api::new().await;
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:f";
    let caller = api.0.cloud.identities.administrator();
    let ask = |operation: &'static str, params: Value| {
        let (cloud, caller) = (api.0.cloud.clone(), caller.clone());
        async move { service::call(&cloud, &caller, "tagging", operation, &params).await }
    };
    let tag = json!({ "ResourceARNList": [arn], "Tags": { "team": "a" } });
    assert_eq!(ask("TagResources", tag).await.expect("tagged")["FailedResourcesMap"], json!({}));
    let listed = api.call("ListTags", json!({ "Resource": arn })).await.expect("listed");
    assert_eq!(listed["Tags"], json!({ "team": "a" }));
    let wanted = json!({ "TagFilters": [{ "Key": "team", "Values": ["a"] }] });
    let found = ask("GetResources", wanted.clone()).await.expect("found");
    assert_eq!(found["ResourceTagMappingList"][0]["ResourceARN"], arn);
    let untag = json!({ "ResourceARNList": [arn], "TagKeys": ["team"] });
    ask("UntagResources", untag).await.expect("untagged");
    let found = ask("GetResources", wanted).await.expect("found");
    assert_eq!(found["ResourceTagMappingList"], json!([]));
}
