//! What templates can make of Step Functions.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{StateMachine, machines};
use crate::kernel::cloud::Cloud;
use crate::kernel::resource::{Handler, Live, Made, Place, ResourceType, attributes, text};

/// The types.
pub const TYPES: &[ResourceType] = &[ResourceType::new(
    "AWS::StepFunctions::StateMachine",
    &[
        "StateMachineName",
        "StateMachineType",
        "RoleArn",
        "DefinitionSubstitutions",
        "DefinitionString",
        "Tags",
    ],
    &Machine,
)
.named_by("StateMachineName")];

#[derive(Debug)]
struct Machine;

impl Machine {
    fn set(place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let definition = machines::parse(&substituted(properties))
            .map_err(|words| format!("Invalid State Machine Definition: {words}"))?;
        let role = text(properties, "RoleArn");
        place.may_pass(role, "states.amazonaws.com")?;
        machines::check_role(place.cloud, id, role, &definition)?;
        let name = id.rsplit(':').next().unwrap_or(id).to_owned();
        let created = place.cloud.clock.now();
        let machine =
            StateMachine { name: name.clone(), role: role.to_owned(), definition, created };
        place.cloud.services.states.machines.put(id, machine)?;
        Ok(attributes(json!({ "Arn": id, "Name": name })))
    }
}

/// The definition with what its template puts into it.
fn substituted(properties: &Value) -> String {
    let substitutions = properties["DefinitionSubstitutions"].as_object().into_iter().flatten();
    substitutions.fold(
        text(properties, "DefinitionString").to_owned(),
        |definition, (name, value)| {
            definition.replace(&format!("${{{name}}}"), value.as_str().unwrap_or_default())
        },
    )
}

#[async_trait]
impl Handler for Machine {
    fn id(&self, place: &Place<'_>, name: Option<&str>, _: &Value) -> String {
        let name = name.map_or_else(|| place.name(), str::to_owned);
        place.cloud.config.arn("states", &format!("stateMachine:{name}"))
    }

    fn exists(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Option<bool> {
        Some(cloud.services.states.machines.contains(id))
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        Self::set(place, id, properties)
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, _: &Value) -> Made {
        Self::set(place, id, properties)
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        place.cloud.services.states.machines.remove(id)?;
        Ok(())
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, properties: &Value) -> Live {
        Live::of(cloud.services.states.machines.get(id).map(|machine| {
            // What was put into the definition is told apart no more: it is shown as it was given
            // when it comes to the same.
            let is_given = serde_json::from_str(&substituted(properties))
                .is_ok_and(|given: Value| given == machine.definition);
            let definition = match is_given {
                true => properties["DefinitionString"].clone(),
                false => machine.definition.to_string().into(),
            };
            json!({
                "StateMachineName": machine.name, "StateMachineType": "STANDARD",
                "RoleArn": machine.role, "DefinitionString": definition,
                "DefinitionSubstitutions": properties["DefinitionSubstitutions"],
            })
        }))
    }

    fn arn(&self, _: &Arc<Cloud>, id: &str) -> Option<String> {
        Some(id.to_owned())
    }

    fn list(&self, cloud: &Arc<Cloud>) -> Option<Vec<String>> {
        Some(cloud.services.states.machines.names(""))
    }
}
