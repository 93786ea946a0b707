//! The embedded cloud as a whole: permissions, what it implements, what it refuses, what survives.

use std::time::Duration;

use serde_json::{Value, json};
use steppe_cloud::kernel::cloud::{Cloud, Config};
use steppe_cloud::kernel::service;
use steppe_plan::catalogue::RawColumn;
use steppe_plan::elf::Architecture;
use steppe_plan::names::Names;
use steppe_plan::site::Site;
use steppe_plan::stack::{ArtifactHashes, StackSpec, combinations};
use steppe_spec::Manifest;
use tempfile::TempDir;

use crate::records::{damage, set_aside};
use crate::running::{BUCKET, start};
use crate::tools::{binary, root};

#[tokio::test]
async fn roles_may_do_what_their_policies_say_and_no_more() {
    let running = start().await;
    let role = "  Role:\n    Type: AWS::IAM::Role\n    Properties:\n      RoleName: reader\n      AssumeRolePolicyDocument:\n        Statement:\n          - Effect: Allow\n            Principal: { Service: lambda.amazonaws.com }\n            Action: sts:AssumeRole\n      Policies:\n        - PolicyName: p\n          PolicyDocument:\n            Version: \"2012-10-17\"\n            Statement:\n              - Sid: Read\n                Effect: Allow\n                Action: s3:GetObject\n                Resource: !Sub \"${Data.Arn}/open/*\"\n              - Sid: List\n                Effect: Allow\n                Action: s3:ListBucket\n                Resource: !GetAtt Data.Arn\n                Condition:\n                  StringLike:\n                    s3:prefix: open/*\n              - Sid: Deny\n                Effect: Deny\n                Action: s3:*\n                Resource: !Sub \"${Data.Arn}/open/secret\"\n";
    let id = running.create(&format!("{BUCKET}{role}")).await;
    assert_eq!(running.settle(&id).await, "CREATE_COMPLETE", "{:?}", running.reasons(&id).await);
    let cloud = &running.cloud;
    let caller = cloud
        .assume("arn:aws:iam::000000000000:role/reader", "lambda.amazonaws.com", "f")
        .expect("trusted");
    let may = |action: &str, resource: &str, prefix: Option<&str>| {
        let conditions: Vec<(&'static str, String)> =
            prefix.map(|p| ("s3:prefix", p.to_owned())).into_iter().collect();
        cloud.authorize(&caller, action, resource, &conditions)
    };
    assert!(may("s3:GetObject", "arn:aws:s3:::my-data/open/a", None).is_ok());
    assert!(may("s3:ListBucket", "arn:aws:s3:::my-data", Some("open/x")).is_ok());
    assert!(may("s3:ListBucket", "arn:aws:s3:::my-data", None).is_err());
    assert!(may("s3:GetObject", "arn:aws:s3:::my-data/open/secret", None).is_err());
    let denied =
        may("s3:GetObject", "arn:aws:s3:::my-data/closed", None).expect_err("denied").message;
    let words = "User: arn:aws:sts::000000000000:assumed-role/reader/f is not authorized to perform: s3:GetObject on resource: \"arn:aws:s3:::my-data/closed\" because no identity-based policy allows the s3:GetObject action";
    assert_eq!(denied, words);
    assert!(
        cloud
            .assume("arn:aws:iam::000000000000:role/reader", "ec2.amazonaws.com", "i")
            .expect_err("not trusted")
            .contains("trust policy")
    );
}

/// The repository's pipeline.
fn manifest() -> Manifest {
    let file = root().join("model/pipelines/marriages/pipeline.toml");
    Manifest::parse("pipeline.toml", &std::fs::read_to_string(file).expect("readable"))
        .expect("valid")
}

/// Its template.
fn rendered(manifest: &Manifest) -> String {
    let text = str::to_owned;
    let names = Names {
        project: text("steppe"),
        pipeline: text("marriages"),
        environment: text("t"),
        account: text("000000000000"),
        region: text("us-east-1"),
    };
    let hash = || "0".repeat(64);
    let spec = StackSpec {
        names: &names,
        manifest,
        query_sql: vec![text("SELECT 1"); manifest.queries.len()],
        raw_headers: vec![vec![RawColumn::plain("region")].into()],
        hashes: ArtifactHashes {
            server: hash(),
            predictor: hash(),
            jobs: hash(),
            train_spec: hash(),
            tasks: hash(),
            glue_script: hash(),
            etl_plan: hash(),
        },
        architecture: Architecture::X86_64,
        site: &Site::embedded(Architecture::X86_64),
    };
    spec.render().expect("renders")
}

#[tokio::test]
async fn every_combination_of_options_is_implemented_to_the_last_property_and_state() {
    let running = start().await;
    running.cloud.services.s3.create("templates", json!([])).expect("a bucket");
    let combinations = combinations(&manifest());
    assert_eq!(combinations.len(), 20, "all, none, each of nine alone and left out");
    for (options, manifest) in combinations {
        let template = rendered(&manifest);
        running
            .cloud
            .services
            .s3
            .put_bytes("templates", "t.yaml", template.as_bytes())
            .expect("stored");
        let url = format!("{}/templates/t.yaml", running.cloud.config.endpoint());
        running
            .call("ValidateTemplate", json!({ "TemplateURL": url }))
            .await
            .unwrap_or_else(|e| panic!("{options}: {e}"));
        for definition in template.split("DefinitionString: |\n").skip(1) {
            let definition = definition.split("\n      Tags:").next().expect("a definition");
            let definition: Value = serde_json::from_str(definition).expect("JSON");
            assert_eq!(
                steppe_cloud::services::states::check(&definition),
                Ok(()),
                "combination {options}"
            );
        }
    }
}

#[tokio::test]
async fn what_it_does_not_implement_is_an_error_that_names_it() {
    let running = start().await;
    let refuse = async |template: &str| {
        running.call("CreateStack", json!({ "StackName": "s", "TemplateBody": template })).await
    };
    let error = refuse("Resources:\n  D:\n    Type: AWS::RDS::DBInstance\n").await;
    let error = error.expect_err("refused");
    assert!(error.contains("does not implement the resource type AWS::RDS::DBInstance"), "{error}");
    let bucket = "Resources:\n  B:\n    Type: AWS::S3::Bucket\n    Properties:\n      ";
    let error = refuse(&format!("{bucket}WebsiteConfiguration: {{ IndexDocument: a }}\n")).await;
    let error = error.expect_err("refused");
    let words = "does not implement the property WebsiteConfiguration of AWS::S3::Bucket";
    assert!(error.contains(words), "{error}");
    let types = json!({
        "StackName": "s", "TemplateBody": BUCKET, "ResourceTypes": ["AWS::S3::Bucket"]
    });
    let error = running.call("CreateStack", types).await.expect_err("refused");
    assert!(error.contains("does not implement the parameter ResourceTypes"), "{error}");
    let error = running.call("CreateStackSet", json!({ "StackSetName": "s" })).await;
    let error = error.expect_err("refused");
    assert!(error.contains("does not implement cloudformation:CreateStackSet"), "{error}");
    assert!(running.cloud.services.cloudformation.stacks.all().is_empty(), "nothing half-done");
}

#[tokio::test]
async fn state_survives_a_crash_and_an_interrupted_creation_is_rolled_back() {
    let state = TempDir::new().expect("a folder");
    let config = Config {
        state_dir: state.path().canonicalize().expect("a path"),
        account: "000000000000".into(),
        region: "us-east-1".into(),
        port: 1,
        engine: binary("steppe-etl"),
        own_binary: binary("steppe-cloud"),
    };
    let open = || Cloud::open(config.clone()).expect("opens");
    let cloud = open();
    let waiting = format!(
        "{BUCKET}  Handle:\n    Type: AWS::CloudFormation::WaitConditionHandle\n  Ready:\n    Type: AWS::CloudFormation::WaitCondition\n    DependsOn: Data\n    Properties:\n      Handle: !Ref Handle\n      Timeout: \"600\"\n"
    );
    let answer = service::call(
        &cloud,
        &cloud.identities.administrator(),
        "cloudformation",
        "CreateStack",
        &json!({ "StackName": "s", "TemplateBody": waiting }),
    )
    .await
    .expect("accepted");
    let id = answer["StackId"].as_str().expect("an ID").to_owned();
    while cloud
        .services
        .cloudformation
        .stacks
        .get(&id)
        .is_none_or(|s| !s.resources.contains_key("Ready"))
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // What the disk holds now is what a crash would leave.
    let again = open();
    assert_eq!(
        again.services.cloudformation.stacks.get(&id).expect("the stack").status,
        "CREATE_IN_PROGRESS"
    );
    assert_eq!(again.services.s3.all().len(), 1);
    steppe_cloud::services::cloudformation::resume(&again);
    while again.services.cloudformation.stacks.get(&id).expect("the stack").status
        != "ROLLBACK_COMPLETE"
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(again.services.s3.all().is_empty());
}

#[tokio::test]
async fn a_damaged_record_is_set_aside_and_the_others_are_served() {
    let running = start().await;
    running.create(BUCKET).await;
    let state = &running.cloud.config.state_dir;
    damage(state, "stacks", "{");
    let again = Cloud::open(running.cloud.config.clone()).expect("opens");
    assert!(again.services.cloudformation.stacks.all().is_empty());
    assert_eq!(again.services.s3.all().len(), 1);
    assert_eq!(set_aside(state), ["{"]);
}

#[tokio::test]
async fn a_request_without_a_valid_signature_is_refused() {
    let running = start().await;
    let port = running.cloud.config.port;
    let send = |head: &str, body: &str| {
        let request = format!(
            "{head}\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let mut stream =
                tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("connects");
            stream.write_all(request.as_bytes()).await.expect("sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("an answer");
            answer
        }
    };
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let day = &now[..8];
    let signed = format!(
        "POST / HTTP/1.1\r\nX-Amz-Date: {now}\r\nAuthorization: AWS4-HMAC-SHA256 Credential=AKIAX/{day}/us-east-1/sts/aws4_request, SignedHeaders=host;x-amz-date, Signature=00"
    );
    let answer = send(&signed, "Action=GetCallerIdentity").await;
    assert!(
        answer.starts_with("HTTP/1.1 403") && answer.contains("InvalidClientTokenId"),
        "{answer}"
    );
    let answer = send("GET /my-bucket/key HTTP/1.1", "").await;
    // Everybody may learn that there is no such bucket; `s3_answers` asks for one that is there.
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("NoSuchBucket"), "{answer}");
    let answer = send("GET /_steppe/imds/guess/latest/meta-data/local-ipv4 HTTP/1.1", "").await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}
