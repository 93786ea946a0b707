//! Whose policies decide: the role of a session, or a user with its groups.

use std::sync::Arc;

use serde_json::Value;

use super::context::Context;
use super::decision::{ADMINISTRATOR_SID, Subject};
use super::document::{Kind, Policy};
use super::stored;
use crate::kernel::cloud::{Cloud, iso};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::identity::{Caller, Principal};
use crate::services::iam::{Group, Role, User, policies};

impl Cloud {
    /// Who a caller is to policies.
    pub fn subject(&self, caller: &Caller) -> Subject {
        let (arn, account) = (caller.arn.clone(), self.config.account.clone());
        match &caller.principal {
            Principal::Administrator | Principal::User { .. } => Subject::User { arn, account },
            Principal::Role { role, .. } => {
                let role_arn = self.config.global_arn("iam", &format!("role/{role}"));
                Subject::Session { arn, role_arn, account }
            }
            Principal::Service { name, .. } => Subject::Service(name.clone()),
        }
    }

    /// The policies that a caller has by itself.
    pub fn identity_policies(&self, caller: &Caller) -> ApiResult<Vec<Policy>> {
        match &caller.principal {
            Principal::Administrator => {
                let document = serde_json::json!({
                    "Version": "2012-10-17",
                    "Statement": [{
                        "Sid": ADMINISTRATOR_SID, "Effect": "Allow", "Action": "*", "Resource": "*"
                    }]
                });
                Ok(vec![stored(&document, Kind::Identity)?])
            }
            Principal::Role { .. } => {
                let role = self.role_of(caller)?;
                self.policies_of(&role.policies, &role.attached)
            }
            Principal::User { .. } => self.user_policies(&*self.user_of(caller)?),
            Principal::Service { .. } => Ok(vec![]),
        }
    }

    /// The policies of a user and those of its groups.
    pub fn user_policies(&self, user: &User) -> ApiResult<Vec<Policy>> {
        let mut found = self.policies_of(&user.policies, &user.attached)?;
        for (_, group) in self.groups_of(user) {
            found.extend(self.policies_of(&group.policies, &group.attached)?);
        }
        Ok(found)
    }

    /// The groups of a user, by name. One that was made anew under the same name is another one.
    pub fn groups_of(&self, user: &User) -> Vec<(String, Arc<Group>)> {
        let groups = &self.services.iam.groups;
        let there = |(name, id): (&String, &String)| {
            let group = groups.get(name).filter(|group| group.id == *id)?;
            Some((name.clone(), group))
        };
        user.groups.iter().filter_map(there).collect()
    }

    /// Inline policies and those of these ARNs, of which one that is gone allows nothing.
    pub fn policies_of(
        &self,
        inline: &[(String, Value)],
        attached: &[String],
    ) -> ApiResult<Vec<Policy>> {
        let inline = inline.iter().map(|(_, policy)| policy.clone());
        let managed = attached.iter().filter_map(|arn| policies::document_of(self, arn));
        inline.chain(managed).map(|policy| stored(&policy, Kind::Identity)).collect()
    }

    /// What a caller may at most: the permissions boundary of its role or of the user, and its
    /// session policy.
    pub fn limits_of(&self, caller: &Caller) -> ApiResult<(Option<Policy>, Option<Policy>)> {
        let boundary = match &caller.principal {
            Principal::Role { .. } => self.role_of(caller)?.boundary.clone(),
            Principal::User { .. } => self.user_of(caller)?.boundary.clone(),
            Principal::Administrator | Principal::Service { .. } => return Ok((None, None)),
        };
        let boundary = match boundary {
            None => None,
            // One that is gone allows nothing.
            Some(arn) => Some(match policies::document_of(self, &arn) {
                Some(document) => stored(&document, Kind::Identity)?,
                None => Policy { variables: false, statements: vec![] },
            }),
        };
        let session = caller.session_policy.as_ref();
        Ok((boundary, session.map(|policy| stored(policy, Kind::Identity)).transpose()?))
    }

    /// The role of a session; credentials of a role that was deleted are good for nothing, also
    /// when there is a new one of the same name.
    fn role_of(&self, caller: &Caller) -> ApiResult<Arc<Role>> {
        let Principal::Role { role, role_id, .. } = &caller.principal else {
            return Err(ApiError::internal("only a session has a role"));
        };
        let found = self.services.iam.roles.get(role).filter(|role| role.id == *role_id);
        found.ok_or_else(invalid_token)
    }

    /// The user whose key it is, likewise.
    fn user_of(&self, caller: &Caller) -> ApiResult<Arc<User>> {
        let Principal::User { user, user_id } = &caller.principal else {
            return Err(ApiError::internal("only a user's key belongs to a user"));
        };
        let found = self.services.iam.users.get(user).filter(|user| user.id == *user_id);
        found.ok_or_else(invalid_token)
    }

    /// What conditions may ask of who calls.
    pub(super) fn add_principal(&self, context: &mut Context, caller: &Caller) -> ApiResult<()> {
        if let Principal::Service { name, source_arn } = &caller.principal {
            self.add_service(context, name, Some(source_arn));
            return Ok(());
        }
        context.add("aws:PrincipalAccount", &self.config.account);
        context.add("aws:userid", caller.user_id());
        context.add("aws:PrincipalIsAWSService", "false");
        if let Some(issued) = caller.issued {
            context.add("aws:TokenIssueTime", iso(issued));
            context.add("aws:MultiFactorAuthPresent", "false");
        }
        match &caller.principal {
            Principal::Administrator | Principal::User { .. } => {
                context.add("aws:PrincipalArn", &caller.arn);
                context.add("aws:PrincipalType", "User");
                context.add("aws:username", caller.arn.rsplit('/').next().unwrap_or_default());
                if caller.principal != Principal::Administrator {
                    add_tags(context, &self.user_of(caller)?.tags);
                }
            }
            Principal::Role { role, .. } => {
                let arn = self.config.global_arn("iam", &format!("role/{role}"));
                context.add("aws:PrincipalArn", arn);
                context.add("aws:PrincipalType", "AssumedRole");
                add_tags(context, &self.role_of(caller)?.tags);
            }
            Principal::Service { .. } => {}
        }
        Ok(())
    }
}

fn add_tags(context: &mut Context, tags: &Value) {
    for (key, value) in crate::kernel::tags::parse(tags) {
        context.add(&format!("aws:PrincipalTag/{key}"), value);
    }
}

fn invalid_token() -> ApiError {
    let words = "The security token included in the request is invalid.";
    ApiError::new("InvalidClientTokenId", words).with_status(403)
}
