//! Looks for what a deletion may have left behind: everything by its exact name, networks by tag,
//! and whatever else carries the tags.
//!
//! Names are asked for one by one and not filtered out of lists: lists have pages, need more
//! permissions, and a prefix also fits the things of another deployment. AWS's index of tags knows
//! also what nobody here has a name for, but neither roles nor what was made or deleted a moment
//! ago; so it only adds names, and every one of them is asked for as the others are.

use serde::Deserialize;
use serde_json::{Value, json};
use steppe_plan::made::Made;

use crate::objects::percent_decoded;
use crate::queries::{ATHENA, LOGS};
use crate::runs::STATES;
use crate::single::{Protocol, Service, members};
use crate::{Aws, AwsError, Kind, Owner, Result};

const EVENTS: Service = Service::json("events", "AWSEvents", "1.1");
const MONITORING: Service = Service::json("monitoring", "GraniteServiceVersion20100801", "1.0");
pub(crate) const GLUE: Service = Service::json("glue", "AWSGlue", "1.1");
const TAGGING: Service = Service::json("tagging", "ResourceGroupsTaggingAPI_20170126", "1.1");
const SNS: Service = Service { name: "sns", protocol: Protocol::Query { version: "2010-03-31" } };

/// Pages of one list.
const PAGES_MAX: usize = 1_000;
/// Names of alarms in one request.
const ALARMS_MAX: usize = 100;

/// What of it is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// As readable lines.
    pub left: Vec<String>,
    /// Kinds that could not be looked for, with the reason.
    pub unknown: Vec<String>,
}

impl Found {
    /// Adds what a look at one kind of things gave.
    fn add(&mut self, kind: &str, looked: Result<Vec<String>>) -> Result<()> {
        match looked {
            Ok(names) => self.left.extend(names.into_iter().map(|n| format!("{kind} {n}"))),
            Err(error) if error.kind == Kind::NotImplemented => {
                self.unknown.push(format!("{kind}s: {} does not answer here", error.call));
            }
            Err(error) if error.kind == Kind::Denied => {
                self.unknown.push(format!("{kind}s: you lack {}", error.call));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl Aws {
    /// Everything of a deployment that is still there.
    pub async fn leftovers(&self, wanted: &Made) -> Result<Found> {
        let (mut found, mut wanted) = (Found::default(), wanted.clone());
        let tagged = self.tagged(&wanted.tags).await;
        // What cannot be asked for is told: whoever reads it can look.
        let unknown =
            tagged.map(|arns| arns.iter().filter_map(|arn| add(&mut wanted, arn)).collect());
        found.add("tagged thing", unknown)?;
        let (buckets, roles, profiles, functions, machines, rules) = tokio::join!(
            those(&wanted.buckets, |name| self.bucket_is_ours(name)),
            those(&wanted.roles, |name| self.role_exists(name)),
            those(&wanted.instance_profiles, |name| self.instance_profile_exists(name)),
            those(&wanted.functions, |name| self.function_exists(name)),
            those(&wanted.machines, |name| self.machine_exists(name)),
            those(&wanted.rules, |name| self.rule_exists(name)),
        );
        let (alarms, topics, logs, databases, jobs, crawlers, work_groups, network) = tokio::join!(
            self.alarms(&wanted.alarms),
            those(&wanted.topics, |name| self.topic_exists(name)),
            those(&wanted.log_groups, |name| self.log_group_exists(name)),
            those(&wanted.databases, |name| self.database_exists(name)),
            those(&wanted.jobs, |name| self.job_exists(name)),
            those(&wanted.crawlers, |name| self.crawler_exists(name)),
            self.work_groups_of(&wanted.work_groups),
            self.network_of(&wanted.tags),
        );
        found.add("bucket", buckets)?;
        found.add("role", roles)?;
        found.add("instance profile", profiles)?;
        found.add("function", functions)?;
        found.add("state machine", machines)?;
        found.add("rule", rules)?;
        found.add("alarm", alarms)?;
        found.add("topic", topics)?;
        found.add("log group", logs)?;
        found.add("Glue database", databases)?;
        found.add("Glue job", jobs)?;
        found.add("Glue crawler", crawlers)?;
        found.add("work group", work_groups)?;
        // Its lines say themselves what they are.
        match network {
            Ok(lines) => found.left.extend(lines),
            Err(error) if error.kind == Kind::Denied || error.kind == Kind::NotImplemented => {
                found.unknown.push(format!("networks and instances: {error}"));
            }
            Err(error) => return Err(error),
        }
        Ok(found)
    }

    async fn bucket_is_ours(&self, name: &str) -> Result<bool> {
        Ok(self.bucket_owner(name).await? == Owner::Us)
    }

    async fn role_exists(&self, name: &str) -> Result<bool> {
        let answer = self.iam.get_role().role_name(name).send().await;
        AwsError::as_existence(answer.map_err(|e| AwsError::new("iam:GetRole", e)))
    }

    async fn instance_profile_exists(&self, name: &str) -> Result<bool> {
        let answer = self.iam.get_instance_profile().instance_profile_name(name).send().await;
        AwsError::as_existence(answer.map_err(|e| AwsError::new("iam:GetInstanceProfile", e)))
    }

    async fn function_exists(&self, name: &str) -> Result<bool> {
        let answer = self.lambda.get_function().function_name(name).send().await;
        AwsError::as_existence(answer.map_err(|e| AwsError::new("lambda:GetFunction", e)))
    }

    async fn machine_exists(&self, name: &str) -> Result<bool> {
        let arn = self.arn("states", &format!("stateMachine:{name}"));
        let asked = json!({ "stateMachineArn": arn });
        AwsError::as_existence(self.json("states:DescribeStateMachine", &STATES, asked).await)
    }

    async fn database_exists(&self, name: &str) -> Result<bool> {
        let answer = self.json("glue:GetDatabase", &GLUE, json!({ "Name": name })).await;
        AwsError::as_existence(answer)
    }

    async fn crawler_exists(&self, name: &str) -> Result<bool> {
        let answer = self.json("glue:GetCrawler", &GLUE, json!({ "Name": name })).await;
        AwsError::as_existence(answer)
    }

    async fn job_exists(&self, name: &str) -> Result<bool> {
        let answer = self.json("glue:GetJob", &GLUE, json!({ "JobName": name })).await;
        AwsError::as_existence(answer)
    }

    async fn rule_exists(&self, name: &str) -> Result<bool> {
        let answer = self.json("events:DescribeRule", &EVENTS, json!({ "Name": name })).await;
        AwsError::as_existence(answer)
    }

    /// Which of these alarms exist.
    async fn alarms(&self, names: &[String]) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for names in names.chunks(ALARMS_MAX) {
            let asked = json!({ "AlarmNames": names });
            let answer = self.json("cloudwatch:DescribeAlarms", &MONITORING, asked).await?;
            let alarms = members(&answer["MetricAlarms"]);
            found.extend(alarms.filter_map(|a| a["AlarmName"].as_str()).map(str::to_owned));
        }
        Ok(found)
    }

    async fn topic_exists(&self, name: &str) -> Result<bool> {
        AwsError::as_existence(self.subscriptions(&self.arn("sns", name), None).await)
    }

    async fn log_group_exists(&self, name: &str) -> Result<bool> {
        let (call, mut found) = ("logs:DescribeLogGroups", false);
        let asked = json!({ "logGroupNamePrefix": name });
        let look = |page: Value| {
            found |= members(&page["logGroups"]).any(|group| group["logGroupName"] == name);
            !found
        };
        self.json_pages(call, &LOGS, asked, "nextToken", look).await?;
        Ok(found)
    }

    async fn work_groups_of(&self, names: &[String]) -> Result<Vec<String>> {
        let (call, mut found) = ("athena:ListWorkGroups", Vec::new());
        let look = |page: Value| {
            let there = members(&page["WorkGroups"]).filter_map(|group| group["Name"].as_str());
            found.extend(there.map(str::to_owned).filter(|name| names.contains(name)));
            true
        };
        self.json_pages(call, &ATHENA, json!({}), "NextToken", look).await?;
        Ok(found)
    }

    /// Statements that allow something in the inline policies of these roles: role and `Sid`.
    pub async fn granted_statements(&self, roles: &[String]) -> Result<Vec<(String, String)>> {
        let mut granted = Vec::new();
        for role in roles {
            let statements = self.role_statements(role).await?;
            let allowing = statements.iter().filter(|s| s["Effect"] == "Allow");
            let sids = allowing.filter_map(|s| s["Sid"].as_str());
            granted.extend(sids.map(|sid| (role.clone(), sid.to_owned())));
        }
        Ok(granted)
    }

    /// All statements of a role's inline policies; a role that is not there has none.
    pub async fn role_statements(&self, role: &str) -> Result<Vec<Value>> {
        let mut statements = Vec::new();
        for policy in self.role_policies(role).await? {
            let document = self.role_policy(role, &policy).await?;
            statements.extend(members(&document["Statement"]).cloned());
        }
        Ok(statements)
    }

    /// Names of a role's inline policies; a role that is not there has none.
    async fn role_policies(&self, role: &str) -> Result<Vec<String>> {
        let mut pages = self.iam.list_role_policies().role_name(role).into_paginator().send();
        let mut names = Vec::new();
        while let Some(page) = pages.next().await {
            match page.map_err(|e| AwsError::new("iam:ListRolePolicies", e)) {
                Ok(page) => names.extend(page.policy_names),
                Err(error) if error.is_not_found() => return Ok(vec![]),
                Err(error) => return Err(error),
            }
        }
        Ok(names)
    }

    async fn role_policy(&self, role: &str, policy: &str) -> Result<Value> {
        let call = "iam:GetRolePolicy";
        let request = self.iam.get_role_policy().role_name(role).policy_name(policy);
        let answer = request.send().await.map_err(|e| AwsError::new(call, e))?;
        // IAM gives policy documents percent-encoded.
        serde_json::from_str(&percent_decoded(&answer.policy_document))
            .map_err(|e| AwsError::local(call, format!("the policy {policy} of {role}: {e}")))
    }

    /// Addresses whose owner has not confirmed that they want a topic's messages.
    pub async fn unconfirmed_subscribers(&self, topic: &str) -> Result<Vec<String>> {
        let (mut waiting, mut token) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let page = self.subscriptions(topic, token.as_deref()).await?;
            let members = page.subscriptions.member.into_iter();
            let pending = members.filter(|s| s.subscription_arn == "PendingConfirmation");
            waiting.extend(pending.map(|s| s.endpoint));
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                break;
            }
        }
        Ok(waiting)
    }

    /// A page of the subscriptions of a topic.
    async fn subscriptions(&self, topic: &str, token: Option<&str>) -> Result<Subscribed> {
        let mut asked = vec![("TopicArn", topic)];
        asked.extend(token.map(|token| ("NextToken", token)));
        let answer: Answer = self.form("sns:ListSubscriptionsByTopic", &SNS, &asked).await?;
        Ok(answer.list_subscriptions_by_topic_result)
    }

    /// ARNs of whatever carries all of these tags, or did a while ago.
    async fn tagged(&self, tags: &[(String, String)]) -> Result<Vec<String>> {
        let call = "tag:GetResources";
        let filters: Vec<Value> =
            tags.iter().map(|(key, value)| json!({ "Key": key, "Values": [value] })).collect();
        let (asked, mut found) = (json!({ "TagFilters": filters }), Vec::new());
        let look = |page: Value| {
            let listed = members(&page["ResourceTagMappingList"]);
            found.extend(listed.filter_map(|r| r["ResourceARN"].as_str()).map(str::to_owned));
            true
        };
        self.json_pages(call, &TAGGING, asked, "PaginationToken", look).await?;
        Ok(found)
    }
}

/// Adds the name in an ARN; returns the ARN when nobody here can ask whether it is there.
fn add(wanted: &mut Made, arn: &str) -> Option<String> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let &[_, _, service, _, _, rest] = parts.as_slice() else { return Some(arn.to_owned()) };
    let (kind, name) = rest.split_once(['/', ':']).unwrap_or(("", rest));
    let names = match (service, kind) {
        ("s3", "") => &mut wanted.buckets,
        ("iam", "role") => &mut wanted.roles,
        ("iam", "instance-profile") => &mut wanted.instance_profiles,
        ("lambda", "function") => &mut wanted.functions,
        ("states", "stateMachine") => &mut wanted.machines,
        ("events", "rule") => &mut wanted.rules,
        ("cloudwatch", "alarm") => &mut wanted.alarms,
        ("sns", "") => &mut wanted.topics,
        ("logs", "log-group") => &mut wanted.log_groups,
        ("glue", "database") => &mut wanted.databases,
        ("glue", "job") => &mut wanted.jobs,
        ("glue", "crawler") => &mut wanted.crawlers,
        ("athena", "workgroup") => &mut wanted.work_groups,
        // The caller knows the stack; networks and instances are found by their tags, and what
        // is in a network keeps it.
        (
            "ec2",
            "vpc" | "instance" | "subnet" | "security-group" | "route-table" | "vpc-endpoint",
        )
        | ("cloudformation", "stack") => return None,
        _ => return Some(arn.to_owned()),
    };
    let name = name.trim_end_matches(":*").to_owned();
    if !names.contains(&name) {
        names.push(name);
    }
    None
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    list_subscriptions_by_topic_result: Subscribed,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Subscribed {
    #[serde(default)]
    subscriptions: Members,
    next_token: Option<String>,
}

#[derive(Default, Deserialize)]
struct Members {
    #[serde(default)]
    member: Vec<Subscription>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Subscription {
    #[serde(default)]
    subscription_arn: String,
    #[serde(default)]
    endpoint: String,
}

/// The names for which the answer is yes.
async fn those<'a, F: Future<Output = Result<bool>>>(
    names: &'a [String],
    exists: impl Fn(&'a str) -> F,
) -> Result<Vec<String>> {
    let mut there = Vec::new();
    for name in names {
        if exists(name).await? {
            there.push(name.clone());
        }
    }
    Ok(there)
}

#[cfg(test)]
mod tests {
    use super::{Made, add};

    #[test]
    fn what_carries_the_tags_is_asked_for_by_its_name_or_told() {
        let mut wanted = Made { topics: vec!["t".into()], ..Made::default() };
        let told: Vec<String> = [
            "arn:aws:s3:::b",
            "arn:aws:sns:us-east-1:0:t",
            "arn:aws:lambda:us-east-1:0:function:f",
            "arn:aws:logs:us-east-1:0:log-group:/steppe/x:*",
            "arn:aws:cloudwatch:us-east-1:0:alarm:a: b",
            "arn:aws:states:us-east-1:0:stateMachine:m",
            "arn:aws:ec2:us-east-1:0:subnet/subnet-1",
            "arn:aws:cloudformation:us-east-1:0:stack/s/1",
            "arn:aws:ec2:us-east-1:0:volume/vol-1",
            "arn:aws:kinesis:us-east-1:0:stream/x",
            "nonsense",
        ]
        .iter()
        .filter_map(|arn| add(&mut wanted, arn))
        .collect();
        let unknown = [
            "arn:aws:ec2:us-east-1:0:volume/vol-1",
            "arn:aws:kinesis:us-east-1:0:stream/x",
            "nonsense",
        ];
        assert_eq!(told, unknown);
        let expected = Made {
            buckets: vec!["b".into()],
            topics: vec!["t".into()],
            functions: vec!["f".into()],
            log_groups: vec!["/steppe/x".into()],
            alarms: vec!["a: b".into()],
            machines: vec!["m".into()],
            ..Made::default()
        };
        assert_eq!(wanted, expected);
    }
}
