//! Looks for what a deletion may have left behind, by name and by tag.

use crate::{Aws, AwsError, Result};

impl Aws {
    /// Everything that still carries the names or tags of a deployment, as readable lines.
    pub async fn leftovers(
        &self,
        stack: &str,
        database: &str,
        log_prefix: &str,
        tags: &[(String, String)],
    ) -> Result<Vec<String>> {
        let (buckets, roles, others, network) = tokio::try_join!(
            self.buckets_of(stack),
            self.roles_of(stack),
            self.services_of(stack, database, log_prefix),
            self.network_of(tags)
        )?;
        Ok([buckets, roles, others, network].concat())
    }

    async fn buckets_of(&self, stack: &str) -> Result<Vec<String>> {
        let answer =
            self.s3.list_buckets().send().await.map_err(|e| AwsError::new("s3:ListBuckets", e))?;
        let names = answer.buckets.unwrap_or_default().into_iter().filter_map(|b| b.name);
        Ok(names
            .filter(|n| n.starts_with(&format!("{stack}-")))
            .map(|n| format!("bucket {n}"))
            .collect())
    }

    async fn roles_of(&self, stack: &str) -> Result<Vec<String>> {
        let mut pages = self.iam.list_roles().into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| AwsError::new("iam:ListRoles", e))?;
            found.extend(
                page.roles
                    .into_iter()
                    .map(|r| r.role_name)
                    .filter(|n| n.starts_with(&format!("{stack}-")))
                    .map(|n| format!("role {n}")),
            );
        }
        Ok(found)
    }

    /// Statements that allow something in the inline policies of a deployment's roles: role and `Sid`.
    pub async fn granted_statements(&self, stack: &str) -> Result<Vec<(String, String)>> {
        let mut granted = Vec::new();
        for role in self.roles_of(stack).await?.iter().map(|line| line.trim_start_matches("role "))
        {
            let listed = self
                .iam
                .list_role_policies()
                .role_name(role)
                .send()
                .await
                .map_err(|e| AwsError::new("iam:ListRolePolicies", e))?;
            for policy in listed.policy_names {
                let answer = self
                    .iam
                    .get_role_policy()
                    .role_name(role)
                    .policy_name(policy)
                    .send()
                    .await
                    .map_err(|e| AwsError::new("iam:GetRolePolicy", e))?;
                let document: serde_json::Value =
                    serde_json::from_str(&percent_decoded(&answer.policy_document))
                        .unwrap_or_default();
                let statements = document["Statement"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter(|s| s["Effect"] == "Allow");
                granted.extend(
                    statements
                        .filter_map(|s| Some((role.to_owned(), s["Sid"].as_str()?.to_owned()))),
                );
            }
        }
        Ok(granted)
    }

    async fn services_of(
        &self,
        stack: &str,
        database: &str,
        log_prefix: &str,
    ) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let databases = self
            .glue
            .get_databases()
            .send()
            .await
            .map_err(|e| AwsError::new("glue:GetDatabases", e))?;
        found.extend(
            databases
                .database_list
                .into_iter()
                .filter(|d| d.name == database)
                .map(|d| format!("Glue database {}", d.name)),
        );
        let groups = self
            .athena
            .list_work_groups()
            .send()
            .await
            .map_err(|e| AwsError::new("athena:ListWorkGroups", e))?;
        found.extend(
            groups
                .work_groups
                .unwrap_or_default()
                .into_iter()
                .filter_map(|g| g.name)
                .filter(|n| n == stack)
                .map(|n| format!("work group {n}")),
        );
        let topics =
            self.sns.list_topics().send().await.map_err(|e| AwsError::new("sns:ListTopics", e))?;
        found.extend(
            topics
                .topics
                .unwrap_or_default()
                .into_iter()
                .filter_map(|t| t.topic_arn)
                .filter(|a| a.ends_with(&format!(":{stack}")))
                .map(|a| format!("topic {a}")),
        );
        let machines = self
            .states
            .list_state_machines()
            .send()
            .await
            .map_err(|e| AwsError::new("states:ListStateMachines", e))?;
        found.extend(
            machines
                .state_machines
                .into_iter()
                .filter(|m| m.name == stack)
                .map(|m| format!("state machine {}", m.name)),
        );
        let functions = self
            .lambda
            .list_functions()
            .send()
            .await
            .map_err(|e| AwsError::new("lambda:ListFunctions", e))?;
        found.extend(
            functions
                .functions
                .unwrap_or_default()
                .into_iter()
                .filter_map(|f| f.function_name)
                .filter(|n| n.starts_with(&format!("{stack}-")))
                .map(|n| format!("function {n}")),
        );
        let logs = self
            .logs
            .describe_log_groups()
            .log_group_name_prefix(format!("{log_prefix}/"))
            .send()
            .await
            .map_err(|e| AwsError::new("logs:DescribeLogGroups", e))?;
        found.extend(
            logs.log_groups
                .unwrap_or_default()
                .into_iter()
                .filter_map(|g| g.log_group_name)
                .map(|n| format!("log group {n}")),
        );
        Ok(found)
    }

    #[cfg(feature = "ec2")]
    async fn network_of(&self, tags: &[(String, String)]) -> Result<Vec<String>> {
        use aws_sdk_ec2::types::{Filter, InstanceStateName};
        let filters: Vec<Filter> = tags
            .iter()
            .map(|(k, v)| Filter::builder().name(format!("tag:{k}")).values(v).build())
            .collect();
        let mut found = Vec::new();
        let vpcs = self
            .ec2
            .describe_vpcs()
            .set_filters(Some(filters.clone()))
            .send()
            .await
            .map_err(|e| AwsError::new("ec2:DescribeVpcs", e))?;
        found.extend(
            vpcs.vpcs
                .unwrap_or_default()
                .into_iter()
                .filter_map(|v| v.vpc_id)
                .map(|id| format!("network {id}")),
        );
        let answer = self
            .ec2
            .describe_instances()
            .set_filters(Some(filters))
            .send()
            .await
            .map_err(|e| AwsError::new("ec2:DescribeInstances", e))?;
        let instances = answer
            .reservations
            .unwrap_or_default()
            .into_iter()
            .flat_map(|r| r.instances.unwrap_or_default());
        // A terminated instance is listed for a while, but costs nothing.
        let live = instances.filter(|i| {
            i.state().and_then(|s| s.name()).is_none_or(|n| *n != InstanceStateName::Terminated)
        });
        found.extend(live.filter_map(|i| i.instance_id).map(|id| format!("instance {id}")));
        Ok(found)
    }

    #[cfg(not(feature = "ec2"))]
    async fn network_of(&self, _tags: &[(String, String)]) -> Result<Vec<String>> {
        Ok(vec!["networks and instances were not looked for: this program was built without the feature `ec2`".to_owned()])
    }
}

/// IAM gives policy documents percent-encoded.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = tail
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|h| u8::from_str_radix(std::str::from_utf8(h).ok()?, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn policy_documents_are_decoded() {
        assert_eq!(
            super::percent_decoded("%7B%22A%22%3A%20%22s3%3A*%22%7D100%"),
            "{\"A\": \"s3:*\"}100%"
        );
    }
}
