//! Resource types as templates use them: made, read, changed and deleted by their handlers.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::kernel::cloud::{Cloud, Config};
use crate::kernel::resource::{self, Live, Place};

struct Fixture {
    cloud: Arc<Cloud>,
    _folder: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let cloud = Cloud::open(Config {
        state_dir: folder.path().to_owned(),
        account: "000000000000".to_owned(),
        region: "us-east-1".to_owned(),
        port: 4580,
        engine: PathBuf::new(),
        own_binary: PathBuf::new(),
    });
    Fixture { cloud: cloud.expect("a cloud"), _folder: folder }
}

impl Fixture {
    fn place(&self) -> Place<'_> {
        let (stack_id, stack_name, logical_id) = ("id", "stack", "Thing");
        Place { cloud: &self.cloud, caller: None, stack_id, stack_name, logical_id }
    }

    /// Makes a resource, as an engine would; its ID and its attributes.
    async fn make(&self, kind: &str, properties: &Value) -> (String, Value) {
        let kind = resource::find(kind).expect("a type");
        let place = self.place();
        let id = kind.handler.id(&place, kind.given_name(properties), properties);
        assert_ne!(kind.handler.exists(&self.cloud, &id, properties), Some(true), "{}", kind.name);
        let made = kind.handler.create(&place, &id, properties).await;
        (id, Value::Object(made.expect(kind.name)))
    }

    async fn change(&self, kind: &str, id: &str, properties: &Value, old: &Value) {
        let kind = resource::find(kind).expect("a type");
        kind.handler.update(&self.place(), id, properties, old).await.expect(kind.name);
    }

    fn read(&self, kind: &str, id: &str, properties: &Value) -> Value {
        match resource::find(kind).expect("a type").handler.read(&self.cloud, id, properties) {
            Live::Is(live) => live,
            other => panic!("{kind} is {other:?}"),
        }
    }

    /// Deletes twice: what is not there is deleted.
    async fn delete(&self, kind: &str, id: &str, properties: &Value) {
        let handler = resource::find(kind).expect("a type").handler;
        for _ in 0..2 {
            handler.delete(&self.place(), id, properties).await.expect(kind);
        }
        assert_eq!(handler.read(&self.cloud, id, properties), Live::Gone, "{kind}");
    }
}

#[tokio::test]
async fn queues_and_their_policies() {
    let f = fixture();
    let kind = "AWS::SQS::Queue";
    let (dead, made) = f.make(kind, &json!({ "QueueName": "dead" })).await;
    assert_eq!(dead, "http://127.0.0.1:4580/000000000000/dead");
    let arn = &made["Arn"];
    assert_eq!(*arn, "arn:aws:sqs:us-east-1:000000000000:dead");
    let old = json!({
        "VisibilityTimeout": 7, "FifoQueue": false, "DelaySeconds": "3",
        "RedrivePolicy": { "deadLetterTargetArn": arn, "maxReceiveCount": 4 },
        "Tags": [{ "Key": "a", "Value": "b" }, { "Key": "c", "Value": "d" }],
    });
    let (id, made) = f.make(kind, &old).await;
    assert!(made["QueueName"].as_str().is_some_and(|name| name.starts_with("stack-Thing-")));
    let live = f.read(kind, &id, &old);
    assert_eq!((&live["VisibilityTimeout"], &live["DelaySeconds"]), (&json!(7), &json!(3)));
    assert_eq!(live["RedrivePolicy"], old["RedrivePolicy"]);
    let new = json!({ "VisibilityTimeout": 8, "Tags": [{ "Key": "a", "Value": "x" }] });
    f.change(kind, &id, &new, &old).await;
    let live = f.read(kind, &id, &new);
    assert_eq!((&live["VisibilityTimeout"], &live["DelaySeconds"]), (&json!(8), &json!(0)));
    assert_eq!((&live["RedrivePolicy"], &live["Tags"]), (&Value::Null, &new["Tags"]));
    let (fifo, _) = f.make(kind, &json!({ "FifoQueue": true })).await;
    assert!(fifo.ends_with(".fifo"), "{fifo}");
    let document = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow", "Principal": { "Service": "events.amazonaws.com" },
            "Action": "sqs:SendMessage", "Resource": "*",
        }]
    });
    let policy = json!({ "Queues": [id, dead], "PolicyDocument": document });
    let (policy_id, _) = f.make("AWS::SQS::QueuePolicy", &policy).await;
    assert_eq!(f.read("AWS::SQS::QueuePolicy", &policy_id, &policy), policy);
    let fewer = json!({ "Queues": [id], "PolicyDocument": document });
    f.change("AWS::SQS::QueuePolicy", &policy_id, &fewer, &policy).await;
    let only_dead = json!({ "Queues": [dead], "PolicyDocument": document });
    let handler = resource::find("AWS::SQS::QueuePolicy").expect("a type").handler;
    assert_eq!(handler.read(&f.cloud, &policy_id, &only_dead), Live::Gone);
    f.delete("AWS::SQS::QueuePolicy", &policy_id, &fewer).await;
    f.delete(kind, &id, &new).await;
}

#[tokio::test]
async fn policies_of_topics() {
    let f = fixture();
    let call = json!({ "Name": "t" });
    let made = f.place().call("sns", "CreateTopic", &call).await.expect("a topic");
    let document = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow", "Principal": { "Service": "events.amazonaws.com" },
            "Action": "sns:Publish", "Resource": made["TopicArn"],
        }]
    });
    let policy = json!({ "Topics": [made["TopicArn"]], "PolicyDocument": document });
    let (id, _) = f.make("AWS::SNS::TopicPolicy", &policy).await;
    assert_eq!(f.read("AWS::SNS::TopicPolicy", &id, &policy), policy);
    f.delete("AWS::SNS::TopicPolicy", &id, &policy).await;
}

#[tokio::test]
async fn parameters() {
    let (f, kind) = (fixture(), "AWS::SSM::Parameter");
    let old = json!({
        "Name": "/p", "Type": "String", "Value": "1", "Description": "d", "Tags": { "a": "b" },
    });
    let (id, made) = f.make(kind, &old).await;
    assert_eq!((id.as_str(), &made["Value"]), ("/p", &json!("1")));
    let new = json!({ "Name": "/p", "Type": "String", "Value": "2", "Tags": { "c": "d" } });
    f.change(kind, &id, &new, &old).await;
    let live = f.read(kind, &id, &new);
    assert_eq!((&live["Value"], &live["Tags"]), (&json!("2"), &json!({ "c": "d" })));
    f.delete(kind, &id, &new).await;
}

#[tokio::test]
async fn keys_and_aliases() {
    let (f, kind) = (fixture(), "AWS::KMS::Key");
    let old = json!({
        "Description": "d", "Enabled": false, "PendingWindowInDays": 7,
        "Tags": [{ "Key": "a", "Value": "b" }],
    });
    let (id, made) = f.make(kind, &old).await;
    assert_eq!(made["Arn"], format!("arn:aws:kms:us-east-1:000000000000:key/{id}"));
    assert_eq!(f.read(kind, &id, &old)["Enabled"], false);
    let new = json!({ "Description": "e", "Tags": [{ "Key": "c", "Value": "d" }] });
    f.change(kind, &id, &new, &old).await;
    let live = f.read(kind, &id, &new);
    assert_eq!((&live["Enabled"], &live["Description"]), (&json!(true), &json!("e")));
    assert_eq!(live["Tags"], new["Tags"]);
    let alias = json!({ "AliasName": "alias/x", "TargetKeyId": id });
    let (name, _) = f.make("AWS::KMS::Alias", &alias).await;
    assert_eq!(f.read("AWS::KMS::Alias", &name, &alias), alias);
    f.delete("AWS::KMS::Alias", &name, &alias).await;
    f.delete(kind, &id, &new).await;
}

#[tokio::test]
async fn schedules_and_groups() {
    let f = fixture();
    let (group, kind) = ("AWS::Scheduler::ScheduleGroup", "AWS::Scheduler::Schedule");
    let properties = json!({ "Name": "g", "Tags": [{ "Key": "a", "Value": "b" }] });
    let (id, made) = f.make(group, &properties).await;
    assert_eq!(made["Arn"], "arn:aws:scheduler:us-east-1:000000000000:schedule-group/g");
    assert_eq!(f.read(group, &id, &properties), properties);
    let target = json!({
        "Arn": "arn:aws:sqs:us-east-1:000000000000:q",
        "RoleArn": "arn:aws:iam::000000000000:role/none",
    });
    let schedule = json!({
        "Name": "s", "GroupName": "g", "ScheduleExpression": "rate(1 day)", "Target": target,
        "FlexibleTimeWindow": { "Mode": "FLEXIBLE", "MaximumWindowInMinutes": "5" },
    });
    let handler = resource::find(kind).expect("a type").handler;
    let refused = handler.create(&f.place(), "s", &schedule).await.expect_err("no such role");
    assert!(refused.to_string().contains("must allow AWS EventBridge Scheduler"), "{refused}");
    f.delete(group, &id, &properties).await;
}

mod outboxes {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::fixture;
    use crate::kernel::cloud::Cloud;
    use crate::kernel::delivery::{Delivery, Retry};
    use crate::kernel::outbox::{self, Outbox, Outcome, Parcel, Tried};
    use std::sync::Arc;

    static ATTEMPTS: AtomicU64 = AtomicU64::new(0);

    /// Fails twice.
    fn attempt<'a>(_: &'a Arc<Cloud>, parcel: &'a Parcel<Delivery>) -> Tried<'a> {
        assert_eq!(ATTEMPTS.fetch_add(1, Ordering::SeqCst), parcel.attempts);
        let outcome = match parcel.attempts {
            0 | 1 => Outcome::Again(Duration::from_secs(60)),
            _ => Outcome::Done,
        };
        Box::pin(std::future::ready(outcome))
    }

    async fn until(holds: impl Fn() -> bool) {
        while !holds() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_fails_is_done_again_by_the_clock() {
        let f = fixture();
        let outbox = |cloud: &Arc<Cloud>| cloud.services.scheduler.deliveries().is_empty();
        let delivery = Delivery {
            service: "scheduler.amazonaws.com".to_owned(),
            source_arn: String::new(),
            session: String::new(),
            role: None,
            target: String::new(),
            body: String::new(),
            parameters: serde_json::Value::Null,
            retry: Retry { age_secs_max: 60, attempts_max: 2 },
            dead_letter: None,
            failures: None,
        };
        let own: fn(&Cloud) -> &Outbox<Delivery> = |cloud| cloud.services.scheduler.deliveries();
        let worker = tokio::spawn(outbox::run(f.cloud.clone(), own, attempt));
        own(&f.cloud).add([delivery], f.cloud.clock.now()).expect("stored");
        until(|| ATTEMPTS.load(Ordering::SeqCst) == 1).await;
        // Whatever is waiting is waiting for the clock.
        for count in [2, 3] {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert_eq!(ATTEMPTS.load(Ordering::SeqCst), count - 1);
            f.cloud.clock.advance(Duration::from_secs(60));
            until(|| ATTEMPTS.load(Ordering::SeqCst) == count).await;
        }
        until(|| outbox(&f.cloud)).await;
        worker.abort();
    }
}
