//! Work that is started: stacks, instances in them, executions, job runs, functions. After a crash
//! each is found again, and has ended or goes on.

use std::io::Write;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cloud::until;
use crate::signed::{Answer, Signed, between};

/// Stack of what all others use.
const BASE: &str = "base";
const CODE: &str = "crash-code";
const DATA: &str = "crash-data";
const BOOTSTRAP: &str = include_str!("../all/bootstrap.sh");

/// What a stack was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Its creation was acknowledged.
    Created,
    /// It was seen to be complete.
    Complete,
    /// Its deletion was asked for; perhaps nobody heard.
    Deletion,
    /// Its deletion was acknowledged.
    Deleted,
}

/// One starter's work.
pub struct Work {
    number: usize,
    random: fastrand::Rng,
    names: usize,
    /// Stacks by name: ID, if it is known, and what was asked for.
    stacks: Vec<(String, String, Wanted)>,
    executions: Vec<String>,
    runs: Vec<String>,
    /// Requests that were acknowledged.
    pub acknowledged: usize,
}

fn role(name: &str, service: &str, actions: &[&str]) -> Value {
    let trust = json!([{
        "Effect": "Allow", "Principal": { "Service": service }, "Action": "sts:AssumeRole",
    }]);
    let policy = json!([{ "Effect": "Allow", "Action": actions, "Resource": "*" }]);
    let version = "2012-10-17";
    json!({
        "Type": "AWS::IAM::Role",
        "Properties": {
            "RoleName": name,
            "AssumeRolePolicyDocument": { "Version": version, "Statement": trust },
            "Policies": [{
                "PolicyName": "p", "PolicyDocument": { "Version": version, "Statement": policy },
            }],
        },
    })
}

fn base_template() -> String {
    let machine = json!({
        "QueryLanguage": "JSONata", "StartAt": "Wait",
        "States": { "Wait": { "Type": "Wait", "Seconds": 1, "End": true } },
    });
    let arguments = json!({
        "--plan": format!("s3://{CODE}/plans/plan.json"),
    });
    json!({ "Resources": {
        "Data": { "Type": "AWS::S3::Bucket", "Properties": { "BucketName": DATA } },
        "FunctionRole": role("crash-function", "lambda.amazonaws.com", &["logs:PutLogEvents"]),
        "Function": {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "FunctionName": "crash", "Runtime": "provided.al2023", "Handler": "bootstrap",
                "Timeout": 20, "Role": { "Fn::GetAtt": ["FunctionRole", "Arn"] },
                "Code": { "S3Bucket": CODE, "S3Key": "package.zip" },
            },
        },
        "MachineRole": role("crash-machine", "states.amazonaws.com", &["lambda:InvokeFunction"]),
        "Machine": {
            "Type": "AWS::StepFunctions::StateMachine",
            "Properties": {
                "StateMachineName": "crash", "DefinitionString": machine.to_string(),
                "RoleArn": { "Fn::GetAtt": ["MachineRole", "Arn"] },
            },
        },
        "JobRole": role("crash-job", "glue.amazonaws.com", &["s3:*", "logs:*"]),
        "Job": {
            "Type": "AWS::Glue::Job",
            "Properties": {
                "Name": "crash", "Role": { "Fn::GetAtt": ["JobRole", "Arn"] },
                "GlueVersion": "5.0", "DefaultArguments": arguments,
                "ExecutionProperty": { "MaxConcurrentRuns": 1 },
                "Command": {
                    "Name": "glueetl", "ScriptLocation": format!("s3://{CODE}/etl.py"),
                },
            },
        },
    } })
    .to_string()
}

/// A small stack, and one in two with an instance that leaves processes behind.
fn small_template(name: &str, with_instance: bool) -> String {
    let mut resources = json!({
        "Bucket": { "Type": "AWS::S3::Bucket", "Properties": { "BucketName": name } },
        "Topic": { "Type": "AWS::SNS::Topic", "Properties": { "TopicName": name } },
        "Role": role(name, "ec2.amazonaws.com", &["s3:GetObject"]),
    });
    if with_instance {
        let script = "#!/bin/bash\nmkdir -p \"$STEPPE_ROOT/etc/systemd/system\"\n\
            printf '[Service]\\nExecStart=/bin/sleep 1000\\nRestart=always\\n' \
            > \"$STEPPE_ROOT/etc/systemd/system/x.service\"\n\
            systemctl enable --now x\nsetsid sleep 1000 &\nsleep 1000 &\n";
        resources["Instance"] = json!({
            "Type": "AWS::EC2::Instance",
            "Properties": { "ImageId": "ami-x", "UserData": { "Fn::Base64": script } },
        });
    }
    json!({ "Resources": resources }).to_string()
}

fn package() -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("bootstrap", zip::write::SimpleFileOptions::default()).expect("started");
    zip.write_all(BOOTSTRAP.as_bytes()).expect("written");
    zip.finish().expect("finished").into_inner()
}

async fn put(client: &Signed, key: &str, bytes: impl Into<bytes::Bytes>) {
    let answer = client.send("s3", "PUT", &format!("/{CODE}/{key}"), &[], bytes).await;
    let answer = answer.expect("the cloud runs");
    assert!(answer.is_ok(), "{key}: {}", answer.text());
}

/// Makes what all work needs.
pub async fn prepare(client: &Signed) {
    let made = client.send("s3", "PUT", &format!("/{CODE}"), &[], "").await;
    assert!(made.expect("the cloud runs").is_ok());
    put(client, "package.zip", package()).await;
    put(client, "etl.py", "").await;
    let rows: String = (0..200).map(|n| format!("a,{n},1\n")).collect();
    put(client, "raw/data.csv", format!("region,year,marriages\n{rows}")).await;
    let plan = json!({
        "schema_version": 4, "pipeline": "test", "root": format!("s3://{CODE}/"),
        "report": "reports/report.json", "tables": [],
        "inputs": [{
            "name": "x", "prefix": "raw/", "format": "csv",
            "csv": { "delimiter": ",", "skip_lines": 0, "leave_out_footnotes": false },
            "columns": [
                { "source": "region", "name": "region", "type": "string" },
                { "source": "year", "name": "year", "type": "int" },
            ],
            "fatal_rules": [], "rule_columns": [],
            "cleaning_sql": "SELECT * FROM raw",
            "judged_sql": "SELECT *, CAST(NULL AS STRING) AS _rule FROM typed",
            "clean_sql": "SELECT region, CAST(year AS INT) AS year FROM judged",
            "rejects_sql": "SELECT file.*, '' AS _rule, '' AS _reason FROM file WHERE 1 = 0",
            "output": { "prefix": "out/", "format": "parquet" }, "rejects": "rejects/",
        }],
    });
    put(client, "plans/plan.json", plan.to_string()).await;
    let template = base_template();
    let params = [
        ("StackName", BASE),
        ("TemplateBody", &template),
        ("Capabilities.member.1", "CAPABILITY_NAMED_IAM"),
    ];
    let answer = client.stacks("CreateStack", &params).await.expect("the cloud runs");
    assert!(answer.is_ok(), "{}", answer.text());
    let status = settled(client, BASE).await;
    assert_eq!(status.as_deref(), Some("CREATE_COMPLETE"));
}

/// The status of a stack that has one; `None` when there is none.
async fn status(client: &Signed, stack: &str) -> Option<String> {
    let answer = client.stacks("DescribeStacks", &[("StackName", stack)]).await;
    let text = answer.expect("the cloud runs").text();
    between(&text, "<StackStatus>", "</StackStatus>").map(str::to_owned)
}

async fn settled(client: &Signed, stack: &str) -> Option<String> {
    let going =
        |status: &Option<String>| status.as_ref().is_some_and(|s| s.ends_with("_IN_PROGRESS"));
    let settles = || async { !going(&status(client, stack).await) };
    until(&format!("the stack {stack} settles"), settles).await;
    status(client, stack).await
}

impl Work {
    /// Nothing started yet.
    pub fn new(number: usize, random: fastrand::Rng) -> Self {
        let (stacks, executions, runs) = (Vec::new(), Vec::new(), Vec::new());
        Self { number, random, names: 0, stacks, executions, runs, acknowledged: 0 }
    }

    /// Starts work until the cloud is gone.
    pub async fn load(&mut self, client: &Signed, stop: Instant) {
        while Instant::now() < stop {
            let started = match self.random.u8(..6) {
                0 => self.create_stack(client).await,
                1 => self.delete_stack(client).await,
                2 => self.look_at_stacks(client).await,
                3 => self.start_execution(client).await,
                4 => self.start_run(client).await,
                _ => self.invoke(client).await,
            };
            match started {
                Ok(()) => self.acknowledged += 1,
                Err(_) => return,
            }
        }
    }

    async fn create_stack(&mut self, client: &Signed) -> Result<(), String> {
        self.names += 1;
        let name = format!("crash-{}-{}", self.number, self.names);
        let template = small_template(&name, self.random.bool());
        let params = [
            ("StackName", name.as_str()),
            ("TemplateBody", &template),
            ("Capabilities.member.1", "CAPABILITY_NAMED_IAM"),
        ];
        let answer = client.stacks("CreateStack", &params).await;
        // Nobody was told, but it may be there all the same.
        let Ok(answer) = answer else {
            self.stacks.push((name.clone(), String::new(), Wanted::Created));
            return Err("no answer".to_owned());
        };
        let text = answer.text();
        let id = between(&text, "<StackId>", "</StackId>");
        let id = id.unwrap_or_else(|| panic!("{name}: {text}")).to_owned();
        self.stacks.push((name, id, Wanted::Created));
        Ok(())
    }

    async fn delete_stack(&mut self, client: &Signed) -> Result<(), String> {
        let known = |s: &&mut (String, String, Wanted)| s.2 == Wanted::Complete;
        let Some((_, id, wanted)) = self.stacks.iter_mut().find(known) else { return Ok(()) };
        *wanted = Wanted::Deletion;
        let answer = client.stacks("DeleteStack", &[("StackName", id)]).await?;
        assert!(answer.is_ok(), "{}", answer.text());
        *wanted = Wanted::Deleted;
        Ok(())
    }

    async fn look_at_stacks(&mut self, client: &Signed) -> Result<(), String> {
        for (_, id, wanted) in &mut self.stacks {
            if *wanted == Wanted::Created && !id.is_empty() {
                let answer = client.stacks("DescribeStacks", &[("StackName", id)]).await?;
                if answer.text().contains("<StackStatus>CREATE_COMPLETE<") {
                    *wanted = Wanted::Complete;
                }
            }
        }
        Ok(())
    }

    async fn start_execution(&mut self, client: &Signed) -> Result<(), String> {
        let arn = "arn:aws:states:us-east-1:000000000000:stateMachine:crash";
        let params = json!({ "stateMachineArn": arn, "input": "{}" });
        let answer = client.json("states", "AWSStepFunctions.StartExecution", &params).await?;
        let arn = answer.json()["executionArn"].as_str().map(str::to_owned);
        self.executions.push(arn.unwrap_or_else(|| panic!("{}", answer.text())));
        Ok(())
    }

    async fn start_run(&mut self, client: &Signed) -> Result<(), String> {
        let params = json!({ "JobName": "crash" });
        let answer = client.json("glue", "AWSGlue.StartJobRun", &params).await?;
        match answer.json()["JobRunId"].as_str() {
            Some(id) => self.runs.push(id.to_owned()),
            // One at a time.
            None => assert!(
                answer.text().contains("ConcurrentRunsExceededException"),
                "{}",
                answer.text()
            ),
        }
        Ok(())
    }

    async fn invoke(&mut self, client: &Signed) -> Result<(), String> {
        let command = ["BODY=1", "sleep 1000 >/dev/null 2>&1 & BODY=1"][self.random.usize(..2)];
        let payload = json!({ "do": command }).to_string();
        let path = "/2015-03-31/functions/crash/invocations";
        let answer: Answer = client.send("lambda", "POST", path, &[], payload).await?;
        assert_eq!(answer.json()["got"], 1, "{} {}", answer.status, answer.text());
        Ok(())
    }

    /// After a restart all work is found again, and has ended or goes on.
    pub async fn check(&mut self, client: &Signed) {
        for (name, id, wanted) in &mut self.stacks {
            check_stack(client, name, id, wanted).await;
        }
        // What failed and what is gone is of no more interest.
        self.stacks.retain(|(_, _, wanted)| *wanted != Wanted::Deleted);
        for arn in self.executions.drain(..) {
            let params = json!({ "executionArn": arn });
            let ended = || async {
                let answer =
                    client.json("states", "AWSStepFunctions.DescribeExecution", &params).await;
                let answer = answer.expect("the cloud runs");
                assert!(answer.is_ok(), "{arn} is lost: {}", answer.text());
                answer.json()["status"] != "RUNNING"
            };
            until(&format!("{arn} ends"), ended).await;
        }
        for run in self.runs.drain(..) {
            let params = json!({ "JobName": "crash", "RunId": run });
            let ended = || async {
                let answer = client.json("glue", "AWSGlue.GetJobRun", &params).await;
                let answer = answer.expect("the cloud runs");
                assert!(answer.is_ok(), "{run} is lost: {}", answer.text());
                let state = &answer.json()["JobRun"]["JobRunState"];
                !["STARTING", "RUNNING", "STOPPING", "WAITING"].iter().any(|s| state == *s)
            };
            until(&format!("{run} ends"), ended).await;
        }
    }
}

/// A stack is what it was asked to be; what is not complete is deleted.
async fn check_stack(client: &Signed, name: &str, id: &mut String, wanted: &mut Wanted) {
    let reference = if id.is_empty() { name.to_owned() } else { id.clone() };
    let status = settled(client, &reference).await;
    let found = status.as_deref();
    let fits = match *wanted {
        Wanted::Created if id.is_empty() => {
            matches!(found, None | Some("CREATE_COMPLETE" | "ROLLBACK_COMPLETE"))
        }
        Wanted::Created => matches!(found, Some("CREATE_COMPLETE" | "ROLLBACK_COMPLETE")),
        Wanted::Complete => found == Some("CREATE_COMPLETE"),
        Wanted::Deletion => matches!(found, Some("CREATE_COMPLETE" | "DELETE_COMPLETE")),
        Wanted::Deleted => found == Some("DELETE_COMPLETE"),
    };
    if !fits {
        let events = client.stacks("DescribeStackEvents", &[("StackName", &reference)]).await;
        let events = events.expect("the cloud runs").text();
        panic!("{name} ({wanted:?}) is {found:?}: {events}");
    }
    let head = client.send("s3", "HEAD", &format!("/{name}"), &[], "").await;
    let bucket = head.expect("the cloud runs").status;
    let complete = found == Some("CREATE_COMPLETE");
    assert_eq!(
        bucket,
        if complete { 200 } else { 404 },
        "the bucket of {name}, which is {found:?}"
    );
    if complete {
        *wanted = Wanted::Complete;
        if id.is_empty() {
            *id = name.to_owned();
        }
        return;
    }
    if found == Some("ROLLBACK_COMPLETE") {
        let deleted = client.stacks("DeleteStack", &[("StackName", &reference)]).await;
        assert!(deleted.expect("the cloud runs").is_ok());
        settled(client, &reference).await;
    }
    *wanted = Wanted::Deleted;
}

/// There is no instance and no role that no stack has.
pub async fn no_more_than_known(client: &Signed, work: &[Work]) {
    let roles = client.query("iam", "ListRoles", "2010-05-08", &[]).await.expect("answered").text();
    for name in roles.split("<RoleName>").skip(1).filter_map(|r| r.split("</RoleName>").next()) {
        let mut stacks = work.iter().flat_map(|w| &w.stacks);
        let base = ["crash-function", "crash-machine", "crash-job"].contains(&name);
        assert!(base || stacks.any(|(stack, _, _)| stack == name), "the role {name} is left");
    }
    let filter = [("Filter.1.Name", "instance-state-name"), ("Filter.1.Value.1", "running")];
    let instances = client.query("ec2", "DescribeInstances", "2016-11-15", &filter).await;
    let running = instances.expect("answered").text().matches("<instanceId>").count();
    let stacks: usize = work.iter().map(|w| w.stacks.len()).sum();
    assert!(running <= stacks, "{running} instances in {stacks} stacks");
}

/// Deletes everything.
pub async fn tidy_up(client: &Signed, work: &mut [Work]) {
    let stacks = work.iter_mut().flat_map(|w| w.stacks.drain(..)).map(|(name, _, _)| name);
    for name in stacks.collect::<Vec<_>>() {
        delete(client, &name).await;
    }
    let list = client.send("s3", "GET", &format!("/{DATA}?list-type=2"), &[], "").await;
    let list = list.expect("the cloud runs").text();
    for key in list.split("<Key>").skip(1).filter_map(|k| k.split("</Key>").next()) {
        let path = format!("/{DATA}/{key}");
        let deleted = client.send("s3", "DELETE", &path, &[], "").await.expect("the cloud runs");
        assert!(deleted.is_ok(), "{key}: {}", deleted.text());
    }
    delete(client, BASE).await;
    let instances = client.query("ec2", "DescribeInstances", "2016-11-15", &[]).await;
    let text = instances.expect("answered").text();
    assert!(!text.contains("<name>running</name>"), "{text}");
}

async fn delete(client: &Signed, name: &str) {
    let answer = client.stacks("DescribeStacks", &[("StackName", name)]).await;
    let text = answer.expect("the cloud runs").text();
    let id = between(&text, "<StackId>", "</StackId>");
    let id = id.unwrap_or_else(|| panic!("{name}: {text}")).to_owned();
    let deleted = client.stacks("DeleteStack", &[("StackName", &id)]).await;
    assert!(deleted.expect("the cloud runs").is_ok());
    assert_eq!(settled(client, &id).await.as_deref(), Some("DELETE_COMPLETE"), "{name}");
}
