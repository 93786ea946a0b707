//! Faults over HTTP: what a lost answer looks like, what S3 and Lambda refuse as scripted, and what
//! the deployer makes of it.

use axum::Router;
use axum::routing::get;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::checkout::Checkout;
use crate::signed::{Answer, Request, Served};

/// In S3's words, for a while after a bucket was made or deleted.
const ABORTED: &str = "A conflicting conditional operation is currently in progress against this \
                       resource. Please try again.";

/// Sends a request and reads until the connection is closed.
async fn raw(port: u16, head: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connects");
    let request = format!("{head} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    // A reset is what some clients see in the place of the end.
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

#[tokio::test]
async fn a_lost_answer_is_a_connection_that_is_closed_without_a_byte() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let app = Router::new().route("/", get(|| async { steppe_cloud::kernel::faults::lost() }));
    tokio::spawn(async move { axum::serve(listener, app).await });
    assert_eq!(raw(port, "GET /").await, b"");
}

#[tokio::test]
async fn s3_and_lambda_fail_as_they_are_told() {
    let served = Served::start().await;
    let aborted =
        json!({ "refuse": { "status": 409, "code": "OperationAborted", "message": ABORTED } });
    let busy = json!({ "refuse": { "status": 409, "code": "ResourceConflictException", "message":
        "The operation cannot be performed at this time." } });
    let script = json!({ "rules": [
        { "service": "s3", "operation": "CreateBucket", "calls": 2, "effect": aborted },
        { "service": "s3", "operation": "ListObjectsV2", "effect": "throttle" },
        { "service": "s3", "operation": "PutObject", "effect": "server_error" },
        { "service": "s3", "operation": "DeleteBucket", "effect": "lost_response" },
        { "service": "lambda", "operation": "Invoke", "effect": "throttle" },
        { "service": "lambda", "operation": "GetFunction", "effect": busy },
    ] });
    served.cloud.faults.set(script.to_string().as_bytes()).expect("a script");
    let administrator = served.administrator();
    let send = async |service: &str, method: &str, path: &str| -> Answer {
        let form = Request::form(&administrator, service);
        served.send(&Request { method, path, headers: vec![], body: "", ..form }).await
    };
    for _ in 0..2 {
        let refused = send("s3", "PUT", "/new-data").await;
        let said = (refused.status, refused.element("Code"), refused.element("Message"));
        assert_eq!(said, (409, "OperationAborted".to_owned(), ABORTED.to_owned()));
    }
    assert_eq!(send("s3", "PUT", "/new-data").await.status, 200);
    let slow = send("s3", "GET", "/new-data?list-type=2").await;
    let said = (slow.status, slow.element("Code"), slow.element("Message"));
    assert_eq!(said, (503, "SlowDown".to_owned(), "Please reduce your request rate.".to_owned()));
    assert_eq!(send("s3", "GET", "/new-data?list-type=2").await.status, 200);
    let broken = send("s3", "PUT", "/new-data/key").await;
    assert_eq!((broken.status, broken.element("Code")), (500, "InternalError".to_owned()));
    assert_eq!(send("s3", "PUT", "/new-data/key").await.status, 200);
    assert_eq!(send("s3", "DELETE", "/new-data/key").await.status, 204);
    let lost = send("s3", "DELETE", "/new-data").await;
    assert_eq!((lost.status, lost.body.len()), (0, 0));
    assert_eq!(send("s3", "HEAD", "/new-data").await.status, 404, "what is lost was done");
    let invoke = async || send("lambda", "POST", "/2015-03-31/functions/f/invocations").await;
    let throttled = invoke().await;
    assert_eq!(throttled.status, 429);
    assert!(throttled.head.contains("TooManyRequestsException"), "{}", throttled.head);
    assert_eq!(invoke().await.status, 404);
    let look = async || send("lambda", "GET", "/2015-03-31/functions/f").await;
    let conflict = look().await;
    assert_eq!(conflict.status, 409);
    assert!(conflict.head.contains("ResourceConflictException"), "{}", conflict.head);
    assert_eq!(look().await.status, 404);
}

#[tokio::test]
async fn expired_tokens_are_told_in_the_words_of_each_protocol() {
    let served = Served::start().await;
    let expired = |service: &str, operation: &str| json!({ "service": service, "operation": operation, "effect": "expired_token" });
    let script = json!({ "rules": [
        expired("s3", "ListBuckets"), expired("iam", "ListRoles"), expired("glue", "GetDatabases"),
        expired("lambda", "GetFunction"), expired("ec2", "DescribeVpcs"),
    ] });
    served.cloud.faults.set(script.to_string().as_bytes()).expect("a script");
    let keys = served.administrator();
    let send = async |service: &str, method: &str, path: &str| -> Answer {
        let form = Request::form(&keys, service);
        served.send(&Request { method, path, headers: vec![], body: "", ..form }).await
    };
    let said = |a: &Answer| (a.status, a.element("Code"), a.element("Message"));
    let words = |status: u16, code: &str, message: &str| (status, code.into(), message.into());
    let general = "The security token included in the request is expired";
    let s3 = send("s3", "GET", "/").await;
    assert_eq!(said(&s3), words(400, "ExpiredToken", "The provided token has expired."));
    let iam = served.query(&keys, "iam", &[("Action", "ListRoles")]).await;
    assert_eq!(said(&iam), words(403, "ExpiredToken", general));
    let ec2 = served.query(&keys, "ec2", &[("Action", "DescribeVpcs")]).await;
    assert_eq!(said(&ec2), words(400, "RequestExpired", "Request has expired."));
    let headers = vec![
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amz-target", "AWSGlue.GetDatabases"),
    ];
    let glue = Request { body: "{}", ..Request::with(&keys, "glue", "/", headers) };
    let glue = served.send(&glue).await;
    let lambda = send("lambda", "GET", "/2015-03-31/functions/f").await;
    for (answer, status) in [(&glue, 400), (&lambda, 403)] {
        assert_eq!(answer.status, status);
        assert!(answer.head.contains("x-amzn-errortype: ExpiredTokenException"), "{}", answer.head);
        assert!(answer.text().contains(general), "{}", answer.text());
    }
}

#[tokio::test]
async fn what_is_reset_is_not_done_and_what_is_slow_is_done_later() {
    let served = Served::start().await;
    let script = json!({ "rules": [
        { "service": "s3", "operation": "CreateBucket", "effect": "reset" },
        { "service": "sns", "operation": "CreateTopic", "effect": "reset" },
        { "service": "s3", "operation": "CreateBucket", "from_call": 2,
          "effect": { "slow": { "seconds": 900 } } },
    ] });
    served.cloud.faults.set(script.to_string().as_bytes()).expect("a script");
    let keys = served.administrator();
    let send = async |method: &str| {
        let form = Request::form(&keys, "s3");
        let request = Request { method, path: "/new-data", headers: vec![], body: "", ..form };
        served.send(&request).await
    };
    let reset = send("PUT").await;
    assert_eq!((reset.status, reset.body.len()), (0, 0));
    assert_eq!(send("HEAD").await.status, 404, "what is reset was not done");
    let topic = [("Action", "CreateTopic"), ("Name", "t")];
    assert_eq!(served.query(&keys, "sns", &topic).await.status, 0);
    let topics = served.query(&keys, "sns", &[("Action", "ListTopics")]).await;
    assert!(!topics.text().contains("TopicArn"), "{}", topics.text());
    let clock = async {
        crate::in_process::until("the call waits", || {
            served.cloud.faults.report().1.iter().filter(|count| count.due > 0).count() == 3
        })
        .await;
        assert_eq!(send("HEAD").await.status, 404);
        served.cloud.clock.advance(std::time::Duration::from_secs(900));
    };
    let (made, ()) = tokio::join!(send("PUT"), clock);
    assert_eq!(made.status, 200);
    assert_eq!(send("HEAD").await.status, 200);
}

/// A machine whose user data start a service and signal whether it is active.
fn server() -> serde_json::Value {
    let script = "#!/bin/bash\nmkdir -p etc/systemd/system\n\
        printf '[Service]\\nExecStart=/bin/sleep 1000\\n' > etc/systemd/system/server.service\n\
        systemctl start server\nsleep 0.2\nstatus=SUCCESS\nstate=active\n\
        systemctl is-active server 2> /dev/null || { status=FAILURE; state=failed; }\n\
        curl -s -X PUT -H 'Content-Type:' --data-binary \
        \"{\\\"Status\\\":\\\"$status\\\",\\\"Reason\\\":\\\"the server is $state\\\",\
        \\\"UniqueId\\\":\\\"1\\\",\\\"Data\\\":\\\"\\\"}\" '${Handle}'\n";
    json!({
        "Handle": { "Type": "AWS::CloudFormation::WaitConditionHandle" },
        "Machine": { "Type": "AWS::EC2::Instance", "Properties": {
            "ImageId": "ami-x", "UserData": { "Fn::Base64": { "Fn::Sub": script } } } },
        "Booted": { "Type": "AWS::CloudFormation::WaitCondition", "DependsOn": "Machine",
            "Properties": { "Handle": { "Ref": "Handle" }, "Timeout": "600" } },
    })
}

#[tokio::test]
async fn an_instance_that_does_not_boot_fails_its_stack_with_the_reason() {
    let home = crate::in_process::InProcess::start().await;
    let set = |rule: serde_json::Value| {
        let script = json!({ "rules": [rule] }).to_string();
        home.cloud.faults.set(script.as_bytes()).expect("a script");
    };
    let (_, status) = home.create("whole", server()).await;
    assert_eq!(status, "CREATE_COMPLETE");

    set(json!({ "service": "ec2", "operation": "StartUnit",
        "effect": { "fail_unit": { "named": "server" } } }));
    let (id, status) = home.create("unit", server()).await;
    let reasons = home.reasons(&id).await;
    assert_eq!(status, "ROLLBACK_COMPLETE", "{reasons:#?}");
    assert!(reasons.iter().any(|r| r.contains("the server is failed")), "{reasons:#?}");

    set(json!({ "service": "ec2", "operation": "BootInstance",
        "effect": { "fail_boot": "launch" } }));
    let (id, status) = home.create("launch", server()).await;
    let reasons = home.reasons(&id).await;
    assert_eq!(status, "ROLLBACK_COMPLETE", "{reasons:#?}");
    let words = "failed to stabilize. Current state: terminated. Reason: Server.InternalError: \
                 Internal error on launch";
    assert!(reasons.iter().any(|r| r.contains(words)), "{reasons:#?}");

    set(json!({ "service": "ec2", "operation": "BootInstance",
        "effect": { "fail_boot": "user_data" } }));
    let later = async {
        let waits = || {
            let stacks = home.cloud.services.cloudformation.stacks.all();
            let silent = stacks.iter().find(|(_, stack)| stack.name == "silent");
            silent.is_some_and(|(_, stack)| {
                stack.resources.get("Booted").is_some_and(|r| r.status == "CREATE_IN_PROGRESS")
            })
        };
        crate::in_process::until("the stack waits", waits).await;
        home.cloud.clock.advance(std::time::Duration::from_secs(601));
    };
    let ((id, status), ()) = tokio::join!(home.create("silent", server()), later);
    let reasons = home.reasons(&id).await;
    assert_eq!(status, "ROLLBACK_COMPLETE", "{reasons:#?}");
    let words = "WaitCondition timed out. Received 0 conditions when expecting 1";
    assert!(reasons.iter().any(|r| r.contains(words)), "{reasons:#?}");
}

#[tokio::test]
async fn an_instance_may_fail_its_status_checks() {
    let home = crate::in_process::InProcess::start().await;
    let script = json!({ "rules": [{ "service": "ec2", "operation": "BootInstance", "from_call": 2,
        "effect": { "fail_boot": "checks" } }] });
    home.cloud.faults.set(script.to_string().as_bytes()).expect("a script");
    let machine = json!({ "Type": "AWS::EC2::Instance", "Properties": { "ImageId": "ami-x" } });
    let other = json!({ "Type": "AWS::EC2::Instance", "DependsOn": "Good",
        "Properties": { "ImageId": "ami-x" } });
    home.created("s", json!({ "Good": machine, "Bad": other })).await;
    let administrator = home.cloud.identities.administrator();
    let ask = |service: &str, operation: &str, params: serde_json::Value| {
        crate::serving::now(&home.cloud, &administrator, service, operation, &params)
            .expect("answered")
    };
    let statuses = ask("ec2", "DescribeInstanceStatus", json!({}));
    let statuses = statuses["InstanceStatuses"].as_array().expect("a list");
    assert_eq!(statuses.len(), 2);
    let impaired = json!({ "Filters": [
        { "Name": "instance-status.status", "Values": ["impaired"] }] });
    let bad = ask("ec2", "DescribeInstanceStatus", impaired);
    let [bad] = bad["InstanceStatuses"].as_array().expect("a list").as_slice() else {
        panic!("{bad}")
    };
    assert_eq!(bad["InstanceStatus"]["Details"][0]["Status"], "failed");
    assert_eq!(bad["SystemStatus"]["Status"], "ok");
    // The metric has a value at the next full minute.
    home.cloud.clock.advance(std::time::Duration::from_secs(60));
    let now = home.cloud.clock.now().as_second();
    let asked = json!({
        "Namespace": "AWS/EC2", "MetricName": "StatusCheckFailed", "Period": 60,
        "Dimensions": [{ "Name": "InstanceId", "Value": bad["InstanceId"] }],
        "StartTime": now - 600, "EndTime": now + 600, "Statistics": ["Maximum"],
    });
    let has_failed = || {
        let found = ask("monitoring", "GetMetricStatistics", asked.clone());
        found["Datapoints"][0]["Maximum"] == 1.0
    };
    crate::in_process::until("the check is told", has_failed).await;
}

#[test]
fn a_deployment_waits_while_s3_is_busy_with_a_bucket() {
    let checkout = Checkout::new();
    let state = checkout.path().join("local");
    std::fs::create_dir_all(&state).expect("a folder");
    let script = json!({ "rules": [{ "service": "s3", "operation": "CreateBucket", "calls": 2,
        "effect": { "refuse": { "status": 409, "code": "OperationAborted", "message": ABORTED } }
    }] });
    std::fs::write(state.join("faults.json"), script.to_string()).expect("written");
    assert!(checkout.done(&["deploy"]).err.contains("deployed"));
    let log = std::fs::read_to_string(state.join("cloud.log")).expect("readable");
    let struck = log.lines().filter(|l| l.contains("CreateBucket") && l.contains("fault:"));
    assert_eq!(struck.count(), 2, "{log}");
    checkout.done(&["destroy", "--yes"]);
}
