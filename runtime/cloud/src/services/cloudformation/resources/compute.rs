//! Resources that do something: roles, instances, functions, state machines, wait conditions.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Made, Place, attributes, text};
use crate::kernel::iam::{check_inline_size, check_policy, check_trust};
use crate::services::ec2;
use crate::services::events;
use crate::services::iam::{Profile, Role};
use crate::services::lambda;
use crate::services::states::{self, StateMachine};

/// Bursts of the processor cost nothing here, but what AWS refuses is refused here, too.
fn check_credits(p: &Value) -> Result<(), String> {
    let (credits, kind) = (&p["CreditSpecification"], text(p, "InstanceType"));
    match credits["CPUCredits"].as_str() {
        None if credits.is_null() => Ok(()),
        Some("standard" | "unlimited") if kind.starts_with('t') => Ok(()),
        Some("standard" | "unlimited") => {
            Err(format!("The instance type {kind} does not support CreditSpecification"))
        }
        other => Err(format!("Invalid CPU credit option: {}", other.unwrap_or("none given"))),
    }
}

pub fn create_instance(place: &Place<'_>, id: &str, p: &Value) -> Made {
    check_credits(p)?;
    let instance = ec2::launch(place.cloud, id, p)?;
    Ok(attributes(json!({
        "InstanceId": id, "PrivateIp": instance.address.to_string(),
        "AvailabilityZone": instance.zone,
    })))
}

pub fn tag_instance(place: &Place<'_>, id: &str, p: &Value) -> Made {
    place
        .cloud
        .services
        .ec2
        .instances
        .update(id, |i| i.tags = p["Tags"].clone())?
        .ok_or_else(|| format!("the instance {id} does not exist"))?;
    Ok(Map::new())
}

pub fn set_role(place: &Place<'_>, id: &str, p: &Value) -> Made {
    let existing = place.cloud.services.iam.roles.get(id);
    let policies = p["Policies"].as_array().into_iter().flatten();
    let policies: Vec<(String, Value)> =
        policies.map(|d| (text(d, "PolicyName").to_owned(), d["PolicyDocument"].clone())).collect();
    for (name, document) in &policies {
        check_policy(document).map_err(|e| format!("the policy {name} is malformed: {e}"))?;
    }
    check_inline_size(id, &policies)?;
    let trust = p["AssumeRolePolicyDocument"].clone();
    check_trust(place.cloud, &trust).map_err(|e| format!("the trust policy is malformed: {e}"))?;
    let mut role = existing.map_or_else(|| Role::new(trust.clone()), |role| (*role).clone());
    role.trust = trust;
    role.policies = policies;
    role.tags = p["Tags"].clone();
    role.description = p["Description"].as_str().map(str::to_owned);
    let role_id = role.id.clone();
    place.cloud.services.iam.roles.put(id, role)?;
    Ok(attributes(
        json!({ "Arn": place.cloud.config.global_arn("iam", &format!("role/{id}")), "RoleId": role_id }),
    ))
}

pub fn set_profile(place: &Place<'_>, id: &str, p: &Value) -> Made {
    let role = p["Roles"][0].as_str().unwrap_or_default();
    if !place.cloud.services.iam.roles.contains(role) {
        return Err(format!("The role with name {role} cannot be found.").into());
    }
    place.may_pass(role, "ec2.amazonaws.com")?;
    let existing = place.cloud.services.iam.profiles.get(id);
    let mut profile = existing.map_or_else(|| Profile::new(role), |profile| (*profile).clone());
    profile.role = role.to_owned();
    place.cloud.services.iam.profiles.put(id, profile)?;
    Ok(attributes(
        json!({ "Arn": place.cloud.config.global_arn("iam", &format!("instance-profile/{id}")) }),
    ))
}

pub fn set_function(place: &Place<'_>, id: &str, p: &Value) -> Made {
    place.may_pass(text(p, "Role"), "lambda.amazonaws.com")?;
    lambda::set(place.cloud, id, p)?;
    Ok(attributes(json!({ "Arn": lambda::arn(place.cloud, id) })))
}

pub fn set_state_machine(place: &Place<'_>, id: &str, p: &Value) -> Made {
    let substitutions = p["DefinitionSubstitutions"].as_object().into_iter().flatten();
    let definition =
        substitutions.fold(text(p, "DefinitionString").to_owned(), |definition, (name, value)| {
            definition.replace(&format!("${{{name}}}"), value.as_str().unwrap_or_default())
        });
    let definition: Value = serde_json::from_str(&definition)
        .map_err(|e| format!("Invalid State Machine Definition: {e}"))?;
    states::check(&definition).map_err(|e| format!("Invalid State Machine Definition: {e}"))?;
    place.may_pass(text(p, "RoleArn"), "states.amazonaws.com")?;
    let role = text(p, "RoleArn");
    place.cloud.assume_for(role, "states.amazonaws.com", "check", Some(id))?;
    let name = id.rsplit(':').next().unwrap_or(id).to_owned();
    let machine = StateMachine {
        name: name.clone(),
        role: text(p, "RoleArn").to_owned(),
        definition,
        created: Timestamp::now(),
    };
    place.cloud.services.states.machines.put(id, machine)?;
    Ok(attributes(json!({ "Arn": id, "Name": name })))
}

pub fn set_rule(place: &Place<'_>, id: &str, p: &Value) -> Made {
    let existing = place.cloud.services.events.rules.get(id);
    let rule = events::parse(p, existing.map_or_else(Timestamp::now, |r| r.created))?;
    for role in rule.targets.iter().filter_map(|target| target.role.as_deref()) {
        place.may_pass(role, "events.amazonaws.com")?;
        let arn = events::arn(place.cloud, id);
        place.cloud.assume_for(role, "events.amazonaws.com", id, Some(&arn))?;
    }
    place.cloud.services.events.rules.put(id, rule)?;
    place.cloud.services.events.rules_changed.notify_one();
    Ok(attributes(json!({ "Arn": events::arn(place.cloud, id) })))
}

pub fn delete_rule(place: &Place<'_>, id: &str) -> Result<(), String> {
    place.cloud.services.events.rules.remove(id)?;
    place.cloud.services.events.rules_changed.notify_one();
    Ok(())
}
