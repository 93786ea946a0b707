//! Users, groups, access keys and who is in which group. Of the last two AWS has no drift.
//!
//! Deleted is what the template gave: a user or a group that got more by other ways is not deleted
//! with it, in the words of IAM.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use crate::kernel::cloud::Cloud;
use crate::kernel::identity::keys::AccessKey;
use crate::kernel::resource::{Failure, Handler, Live, Made, Place, attributes, text};
use crate::kernel::service::Call;
use crate::services::iam::{Group, User};
use crate::services::iam::{SERVICE, bearers, keys};

/// A role, user or group that policies are given to.
pub(super) struct Holder<'a> {
    /// `User`, as operations are called.
    pub kind: &'static str,
    /// Its name.
    pub name: &'a str,
}

impl Holder<'_> {
    /// Calls `VERBUserPolicy` and the like. What is not there any more needs no taking away.
    pub async fn call(
        &self,
        place: &Place<'_>,
        verb: &str,
        mut more: Value,
    ) -> Result<(), Failure> {
        let Self { kind, name } = self;
        more[format!("{kind}Name")] = (*name).into();
        let answer = place.call("iam", &format!("{verb}{kind}Policy"), &more).await;
        match answer {
            Err(Failure::Gone(_)) if matches!(verb, "Delete" | "Detach") => Ok(()),
            answer => answer.map(|_| ()),
        }
    }

    /// Brings the policies from those of the properties `old` to those of `new`.
    async fn bring(&self, place: &Place<'_>, old: &Value, new: &Value) -> Result<(), Failure> {
        let (old_inline, new_inline) = (inline(old), inline(new));
        for policy in old_inline.iter().filter(|policy| !names(&new_inline, policy)) {
            self.call(place, "Delete", json!({ "PolicyName": policy["PolicyName"] })).await?;
        }
        for policy in new_inline.iter().filter(|policy| !old_inline.contains(policy)) {
            let document = document(&policy["PolicyDocument"]);
            let more = json!({ "PolicyName": policy["PolicyName"], "PolicyDocument": document });
            self.call(place, "Put", more).await?;
        }
        let change = Change::of(&old["ManagedPolicyArns"], &new["ManagedPolicyArns"]);
        for arn in change.gone {
            self.call(place, "Detach", json!({ "PolicyArn": arn })).await?;
        }
        for arn in change.added {
            self.call(place, "Attach", json!({ "PolicyArn": arn })).await?;
        }
        Ok(())
    }
}

fn inline(properties: &Value) -> Vec<Value> {
    properties["Policies"].as_array().cloned().unwrap_or_default()
}

fn names(policies: &[Value], wanted: &Value) -> bool {
    policies.iter().any(|policy| policy["PolicyName"] == wanted["PolicyName"])
}

/// A document as operations take it; templates may have it as text.
pub(super) fn document(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What a list of texts lost and got.
pub(super) struct Change {
    pub gone: Vec<String>,
    pub added: Vec<String>,
}

impl Change {
    pub fn of(old: &Value, new: &Value) -> Self {
        let (old, new) = (texts(old), texts(new));
        let without = |list: &[&str], other: &[&str]| -> Vec<String> {
            let left = list.iter().filter(|text| !other.contains(text));
            left.map(|text| (*text).to_owned()).collect()
        };
        Self { gone: without(&old, &new), added: without(&new, &old) }
    }
}

/// The texts of a list.
pub(super) fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Puts a user into a group, or takes it out.
async fn member(place: &Place<'_>, verb: &str, group: &str, user: &str) -> Result<(), Failure> {
    let params = json!({ "GroupName": group, "UserName": user });
    match place.call("iam", verb, &params).await {
        Err(Failure::Gone(_)) if verb == "RemoveUserFromGroup" => Ok(()),
        answer => answer.map(|_| ()),
    }
}

#[derive(Debug)]
pub(super) struct Users;

impl Users {
    async fn bring(place: &Place<'_>, name: &str, old: &Value, new: &Value) -> Result<(), Failure> {
        Holder { kind: "User", name }.bring(place, old, new).await?;
        let change = Change::of(&old["Groups"], &new["Groups"]);
        for group in change.gone {
            member(place, "RemoveUserFromGroup", &group, name).await?;
        }
        for group in change.added {
            member(place, "AddUserToGroup", &group, name).await?;
        }
        Ok(())
    }

    async fn set_tags(
        place: &Place<'_>,
        name: &str,
        old: &Value,
        new: &Value,
    ) -> Result<(), Failure> {
        let keys = |tags: &Value| -> Value {
            tags.as_array().into_iter().flatten().map(|tag| tag["Key"].clone()).collect()
        };
        let change = Change::of(&keys(old), &keys(new));
        if !change.gone.is_empty() {
            let params = json!({ "UserName": name, "TagKeys": change.gone });
            place.call("iam", "UntagUser", &params).await?;
        }
        if old != new && new.as_array().is_some_and(|tags| !tags.is_empty()) {
            place.call("iam", "TagUser", &json!({ "UserName": name, "Tags": new })).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Handler for Users {
    fn exists(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Option<bool> {
        Some(bearers::is_taken::<User>(cloud, id))
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let params = json!({
            "UserName": id, "PermissionsBoundary": properties["PermissionsBoundary"],
            "Tags": properties["Tags"],
        });
        let made = place.call("iam", "CreateUser", &params).await?;
        Self::bring(place, id, &Value::Null, properties).await?;
        Ok(attributes(json!({ "Arn": made["User"]["Arn"] })))
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, old: &Value) -> Made {
        let boundary = &properties["PermissionsBoundary"];
        if *boundary != old["PermissionsBoundary"] {
            let verb = if boundary.is_null() { "Delete" } else { "Put" };
            let params = json!({ "UserName": id, "PermissionsBoundary": boundary });
            place.call("iam", &format!("{verb}UserPermissionsBoundary"), &params).await?;
        }
        Self::bring(place, id, old, properties).await?;
        Self::set_tags(place, id, &old["Tags"], &properties["Tags"]).await?;
        Ok(Map::new())
    }

    async fn delete(&self, place: &Place<'_>, id: &str, properties: &Value) -> Result<(), String> {
        let emptied = Self::bring(place, id, properties, &Value::Null).await;
        emptied.map_err(|failure| failure.to_string())?;
        place.call_unless_gone("iam", "DeleteUser", &json!({ "UserName": id })).await
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Live {
        Live::of(cloud.services.iam.users.get(id).map(|user| {
            let groups: Vec<String> =
                cloud.groups_of(&user).into_iter().map(|(name, _)| name).collect();
            json!({
                "UserName": id, "Groups": groups, "ManagedPolicyArns": user.attached,
                "Policies": shown(&user.policies), "PermissionsBoundary": user.boundary,
                "Tags": user.tags,
            })
        }))
    }

    fn list(&self, cloud: &Arc<Cloud>) -> Option<Vec<String>> {
        Some(cloud.services.iam.users.names(""))
    }
}

/// Inline policies as properties.
fn shown(policies: &[(String, Value)]) -> Vec<Value> {
    let policy = |(name, document): &(String, Value)| json!({ "PolicyName": name, "PolicyDocument": document });
    policies.iter().map(policy).collect()
}

#[derive(Debug)]
pub(super) struct Groups;

#[async_trait]
impl Handler for Groups {
    fn exists(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Option<bool> {
        Some(bearers::is_taken::<Group>(cloud, id))
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let made = place.call("iam", "CreateGroup", &json!({ "GroupName": id })).await?;
        Holder { kind: "Group", name: id }.bring(place, &Value::Null, properties).await?;
        Ok(attributes(json!({ "Arn": made["Group"]["Arn"] })))
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, old: &Value) -> Made {
        Holder { kind: "Group", name: id }.bring(place, old, properties).await?;
        Ok(Map::new())
    }

    async fn delete(&self, place: &Place<'_>, id: &str, properties: &Value) -> Result<(), String> {
        let group = Holder { kind: "Group", name: id };
        let emptied = group.bring(place, properties, &Value::Null).await;
        emptied.map_err(|failure| failure.to_string())?;
        place.call_unless_gone("iam", "DeleteGroup", &json!({ "GroupName": id })).await
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Live {
        Live::of(cloud.services.iam.groups.get(id).map(|group| {
            json!({
                "GroupName": id, "ManagedPolicyArns": group.attached,
                "Policies": shown(&group.policies),
            })
        }))
    }

    fn list(&self, cloud: &Arc<Cloud>) -> Option<Vec<String>> {
        Some(cloud.services.iam.groups.names(""))
    }
}

#[derive(Debug)]
pub(super) struct Keys;

impl Keys {
    async fn set_status(place: &Place<'_>, id: &str, properties: &Value) -> Result<(), Failure> {
        let params = json!({
            "UserName": properties["UserName"], "AccessKeyId": id,
            "Status": properties["Status"].as_str().unwrap_or("Active"),
        });
        place.call("iam", "UpdateAccessKey", &params).await.map(|_| ())
    }
}

#[async_trait]
impl Handler for Keys {
    fn id(&self, _: &Place<'_>, _: Option<&str>, _: &Value) -> String {
        AccessKey::new_id()
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let params = json!({ "UserName": properties["UserName"] });
        // Not through the API, which chooses the ID itself.
        let administrator = place.cloud.identities.administrator();
        let caller = place.caller.as_ref().unwrap_or(&administrator).anew();
        let (cloud, operation) = (place.cloud, "CreateAccessKey");
        let call = Call { cloud, caller: &caller, service: &SERVICE, operation, params: &params };
        let made = keys::create_as(&call, id);
        cloud.note(&caller, "iam", operation, made.as_ref().err());
        let made = made.map_err(|refusal| Failure::told("iam", &refusal))?;
        if properties["Status"] == "Inactive" {
            Self::set_status(place, id, properties).await?;
        }
        let secret = &made["AccessKey"]["SecretAccessKey"];
        Ok(attributes(json!({ "Id": id, "SecretAccessKey": secret })))
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, _: &Value) -> Made {
        Self::set_status(place, id, properties).await?;
        Ok(Map::new())
    }

    async fn delete(&self, place: &Place<'_>, id: &str, properties: &Value) -> Result<(), String> {
        let params = json!({ "UserName": properties["UserName"], "AccessKeyId": id });
        place.call_unless_gone("iam", "DeleteAccessKey", &params).await
    }
}

#[derive(Debug)]
pub(super) struct Members;

impl Members {
    async fn bring(place: &Place<'_>, old: &Value, new: &Value) -> Result<(), Failure> {
        let stays = old["GroupName"] == new["GroupName"];
        let nobody = Value::Null;
        let before = if stays { &old["Users"] } else { &nobody };
        let gone = Change::of(&old["Users"], if stays { &new["Users"] } else { &nobody }).gone;
        for user in gone {
            member(place, "RemoveUserFromGroup", text(old, "GroupName"), &user).await?;
        }
        for user in Change::of(before, &new["Users"]).added {
            member(place, "AddUserToGroup", text(new, "GroupName"), &user).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Handler for Members {
    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        Self::bring(place, &Value::Null, properties).await?;
        Ok(attributes(json!({ "Id": id })))
    }

    async fn update(&self, place: &Place<'_>, _: &str, properties: &Value, old: &Value) -> Made {
        Self::bring(place, old, properties).await?;
        Ok(Map::new())
    }

    async fn delete(&self, place: &Place<'_>, _: &str, properties: &Value) -> Result<(), String> {
        let left = Self::bring(place, properties, &Value::Null).await;
        left.map_err(|failure| failure.to_string())
    }
}
