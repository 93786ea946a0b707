//! One stack: its status, parameters, outputs, resources, events, drift, template.

use std::sync::Arc;

use maud::{Markup, html};
use serde_json::{Value, json};

use super::ask::{Answer, Ask, Problem};
use super::frame::Page;
use super::html::{
    api_time, arn, code, facts, folded, json as shown_json, link, maybe_time, of, section, status,
    tags, text, time, type_name,
};
use super::links::{of_resource, to};
use super::mask::{Secrets, hidden};
use super::table::{onward, paged, table};
use super::yaml;
use crate::services::cloudformation::{Stack, Template, parse};

/// The stack that is asked for, by ID or name.
fn find(ask: &Ask) -> Result<(String, Arc<Stack>), Problem> {
    let stacks = &ask.cloud.services.cloudformation.stacks;
    let id = ask.required("id")?;
    if let Some(stack) = stacks.get(id) {
        return Ok((id.to_owned(), stack));
    }
    let live =
        stacks.all().into_iter().find(|(_, s)| s.name == id && s.status != "DELETE_COMPLETE");
    live.ok_or_else(|| Problem::absent(format!("There is no stack {id}.")))
}

/// The page.
pub async fn page(ask: &Ask) -> Result<Answer, Problem> {
    let (id, stack) = find(ask)?;
    // A stack of an earlier version may have a template that is refused today.
    let template = parse(&stack.template).ok();
    let mut secrets = Secrets::default();
    let silent = template.as_deref().map(|t| t.secrets(&stack.parameters())).unwrap_or_default();
    silent.iter().for_each(|value| secrets.add(value));
    let body = html! {
        (about(&id, &stack, template.as_deref(), &secrets))
        (section("Resources", &resources(ask, &stack, &secrets)))
        (section("Outputs", &outputs(&stack, &secrets)))
        (section("Parameters", &parameters(&stack, template.as_deref())))
        (section("Events, newest first", &events(ask, &id, &secrets).await?))
        (section("Drift", &drift(&stack, &secrets)))
        (template_of(template.as_deref(), &secrets))
    };
    let page = Page::new(&stack.name, body).below("Stacks", to("stacks", &[]));
    Ok(page.moving(stack.is_busy()).into())
}

fn about(id: &str, stack: &Stack, template: Option<&Template>, secrets: &Secrets) -> Markup {
    let yes = |yes: bool| text(if yes { "on" } else { "off" });
    facts(vec![
        ("Status", status(&stack.status)),
        ("Reason", text(&secrets.masked(stack.reason.as_deref().unwrap_or_default()))),
        ("Description", text(template.and_then(Template::description).unwrap_or_default())),
        ("ID", text(id)),
        ("Created", time(stack.created)),
        ("Updated", maybe_time(stack.updated)),
        ("Deleted", maybe_time(stack.deleted)),
        ("Termination protection", yes(stack.protected)),
        ("Service role", stack.role.as_deref().map_or_else(|| text(""), arn)),
        ("Tags", tags(&stack.tags)),
    ])
}

fn resources(ask: &Ask, stack: &Stack, secrets: &Secrets) -> Markup {
    let all: Vec<_> = stack.resources.iter().collect();
    let (shown, pager) = paged(ask, "stack", all);
    let rows: Vec<Vec<Markup>> = shown
        .into_iter()
        .map(|(logical_id, resource)| {
            let id = secrets.masked(&resource.physical_id);
            let physical = match of_resource(&resource.kind, &resource.physical_id) {
                Some(address) => link(&address, &id),
                None => text(&id),
            };
            let reason = secrets.masked(resource.reason.as_deref().unwrap_or_default());
            vec![
                text(logical_id),
                type_name(&resource.kind),
                physical,
                status(&resource.status),
                text(&reason),
                time(resource.updated),
            ]
        })
        .collect();
    let columns = ["Logical ID", "Type", "Physical ID", "Status", "Reason", "Updated"];
    html! { (table("Resources", &columns, &rows)) (pager) }
}

fn outputs(stack: &Stack, secrets: &Secrets) -> Markup {
    let rows: Vec<Vec<Markup>> = stack
        .outputs
        .iter()
        .map(|(name, output)| {
            let value = secrets.masked(output["OutputValue"].as_str().unwrap_or_default());
            let shown = match super::links::of_s3(&value) {
                Some(address) => link(&address, &value),
                None => arn(&value),
            };
            vec![text(name), shown, of(&output["Description"]), of(&output["ExportName"])]
        })
        .collect();
    table("Outputs", &["Name", "Value", "Description", "Export"], &rows)
}

fn parameters(stack: &Stack, template: Option<&Template>) -> Markup {
    let Some(template) = template else {
        let words = "The template cannot be read any more, so nobody knows which are secret.";
        return html! { p.quiet { (words) } };
    };
    let described = template.described_values(&stack.parameters());
    let rows: Vec<Vec<Markup>> = described
        .iter()
        .map(|p| vec![of(&p["ParameterKey"]), of(&p["ParameterValue"]), of(&p["ResolvedValue"])])
        .collect();
    table("Parameters", &["Name", "Value", "Resolved value"], &rows)
}

async fn events(ask: &Ask, id: &str, secrets: &Secrets) -> Result<Markup, Problem> {
    let params = json!({ "StackName": id, "NextToken": ask.text("events") });
    let answer = ask.read("cloudformation", "DescribeStackEvents", params).await?;
    let rows: Vec<Vec<Markup>> = answer["StackEvents"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|event| {
            let reason = secrets.masked(event["ResourceStatusReason"].as_str().unwrap_or_default());
            let kind = event["ResourceStatus"].as_str().unwrap_or_default();
            vec![
                api_time(&event["Timestamp"]),
                of(&event["LogicalResourceId"]),
                status(kind),
                text(&reason),
                type_name(event["ResourceType"].as_str().unwrap_or_default()),
            ]
        })
        .collect();
    Ok(html! {
        (table("Events", &["When", "Logical ID", "Status", "Reason", "Type"], &rows))
        (onward(ask, "stack", "events", answer["NextToken"].as_str()))
    })
}

fn drift(stack: &Stack, secrets: &Secrets) -> Markup {
    let Some(checked) = stack.drift.checked else {
        return html! { p.quiet { "Nobody has looked for it yet." } };
    };
    let drifted: Vec<_> = stack
        .drift
        .resources
        .iter()
        .filter(|(_, f)| !f.differences.is_empty() || f.status == "DELETED")
        .collect();
    html! {
        p { (status(stack.drift.status())) " when looked at on " (time(checked)) "." }
        @for (logical_id, found) in drifted {
            h3 { (logical_id) " " (status(&found.status)) }
            @let differences = Value::from(found.differences.clone());
            (shown_json("Differences", &secrets.masked_value(&differences_hidden(&differences))))
        }
    }
}

/// Differences name a property by its path, so that a secret is told by that.
fn differences_hidden(differences: &Value) -> Value {
    let hide = |difference: &Value| {
        let path = difference["PropertyPath"].as_str().unwrap_or_default();
        let is_secret = path.contains("/Environment") || super::mask::is_secret(path);
        let mut shown = hidden(difference);
        if is_secret {
            for side in ["ExpectedValue", "ActualValue"] {
                shown[side] = super::mask::MASK.into();
            }
        }
        shown
    };
    differences.as_array().into_iter().flatten().map(hide).collect()
}

fn template_of(template: Option<&Template>, secrets: &Secrets) -> Markup {
    let Some(template) = template else { return html! {} };
    let shown = yaml::text(&secrets.masked_value(&hidden(template.value())));
    folded("Template", &code("Template", &shown))
}
