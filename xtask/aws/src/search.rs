//! Looks for what a deletion may have left behind: everything by its exact name, networks by tag.
//!
//! Names are asked for one by one and not filtered out of lists: lists have pages, need more
//! permissions, and a prefix also fits the things of another deployment.

use serde_json::Value;

use crate::objects::percent_decoded;
use crate::{Aws, AwsError, Kind, Owner, Result};

/// What a deployment may have made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Buckets.
    pub buckets: Vec<String>,
    /// Roles.
    pub roles: Vec<String>,
    /// Instance profiles.
    pub instance_profiles: Vec<String>,
    /// Functions.
    pub functions: Vec<String>,
    /// State machines.
    pub machines: Vec<String>,
    /// Rules of EventBridge.
    pub rules: Vec<String>,
    /// Alarms.
    pub alarms: Vec<String>,
    /// Topics.
    pub topics: Vec<String>,
    /// Log groups.
    pub log_groups: Vec<String>,
    /// Glue databases.
    pub databases: Vec<String>,
    /// Glue jobs.
    pub jobs: Vec<String>,
    /// Work groups of Athena; their named queries go with them.
    pub work_groups: Vec<String>,
    /// Tags of networks and instances; what is in a network keeps it from being deleted.
    pub tags: Vec<(String, String)>,
}

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
    pub async fn leftovers(&self, wanted: &Wanted) -> Result<Found> {
        let mut found = Found::default();
        let (buckets, roles, profiles, functions, machines, rules) = tokio::join!(
            those(&wanted.buckets, |name| self.bucket_is_ours(name)),
            those(&wanted.roles, |name| self.role_exists(name)),
            those(&wanted.instance_profiles, |name| self.instance_profile_exists(name)),
            those(&wanted.functions, |name| self.function_exists(name)),
            those(&wanted.machines, |name| self.machine_exists(name)),
            those(&wanted.rules, |name| self.rule_exists(name)),
        );
        let (alarms, topics, groups, databases, jobs, work_groups, network) = tokio::join!(
            self.alarms(&wanted.alarms),
            self.topics_of(&wanted.topics),
            those(&wanted.log_groups, |name| self.log_group_exists(name)),
            those(&wanted.databases, |name| self.database_exists(name)),
            those(&wanted.jobs, |name| self.job_exists(name)),
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
        found.add("log group", groups)?;
        found.add("Glue database", databases)?;
        found.add("Glue job", jobs)?;
        found.add("work group", work_groups)?;
        // Its lines say themselves what they are.
        match network {
            Ok(lines) => found.left.extend(lines),
            Err(error) if error.kind == Kind::Denied || error.kind == Kind::NotImplemented => {
                found.unknown.push(format!("networks and instances: {error}"));
            }
            Err(error) if cfg!(not(feature = "ec2")) => {
                found.unknown.push(format!("networks and instances: {}", error.message));
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
        let answer = self.states.describe_state_machine().state_machine_arn(arn).send().await;
        AwsError::as_existence(answer.map_err(|e| AwsError::new("states:DescribeStateMachine", e)))
    }

    async fn database_exists(&self, name: &str) -> Result<bool> {
        let answer = self.glue.get_database().name(name).send().await;
        AwsError::as_existence(answer.map_err(|e| AwsError::new("glue:GetDatabase", e)))
    }

    async fn job_exists(&self, name: &str) -> Result<bool> {
        let answer = self.glue.get_job().job_name(name).send().await;
        AwsError::as_existence(answer.map_err(|e| AwsError::new("glue:GetJob", e)))
    }

    async fn log_group_exists(&self, name: &str) -> Result<bool> {
        let mut pages =
            self.logs.describe_log_groups().log_group_name_prefix(name).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| AwsError::new("logs:DescribeLogGroups", e))?;
            if page.log_groups().iter().any(|g| g.log_group_name() == Some(name)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn topics_of(&self, names: &[String]) -> Result<Vec<String>> {
        let wanted: Vec<String> = names.iter().map(|name| self.arn("sns", name)).collect();
        let mut pages = self.sns.list_topics().into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| AwsError::new("sns:ListTopics", e))?;
            let arns = page.topics.unwrap_or_default().into_iter().filter_map(|t| t.topic_arn);
            found.extend(arns.filter(|arn| wanted.contains(arn)));
        }
        Ok(found)
    }

    async fn work_groups_of(&self, names: &[String]) -> Result<Vec<String>> {
        let mut pages = self.athena.list_work_groups().into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| AwsError::new("athena:ListWorkGroups", e))?;
            let there = page.work_groups.unwrap_or_default().into_iter().filter_map(|g| g.name);
            found.extend(there.filter(|name| names.contains(name)));
        }
        Ok(found)
    }

    /// Statements that allow something in the inline policies of these roles: role and `Sid`.
    pub async fn granted_statements(&self, roles: &[String]) -> Result<Vec<(String, String)>> {
        let mut granted = Vec::new();
        for role in roles {
            for policy in self.role_policies(role).await? {
                let document = self.role_policy(role, &policy).await?;
                let statements = document["Statement"].as_array().into_iter().flatten();
                let allowing = statements.filter(|s| s["Effect"] == "Allow");
                let sids = allowing.filter_map(|s| s["Sid"].as_str());
                granted.extend(sids.map(|sid| (role.clone(), sid.to_owned())));
            }
        }
        Ok(granted)
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
        let mut pages =
            self.sns.list_subscriptions_by_topic().topic_arn(topic).into_paginator().send();
        let mut waiting = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| AwsError::new("sns:ListSubscriptionsByTopic", e))?;
            let pending = page
                .subscriptions
                .unwrap_or_default()
                .into_iter()
                .filter(|s| s.subscription_arn.as_deref() == Some("PendingConfirmation"));
            waiting.extend(pending.filter_map(|s| s.endpoint));
        }
        Ok(waiting)
    }
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
