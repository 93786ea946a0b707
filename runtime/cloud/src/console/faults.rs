//! Faults on demand, and what of AWS is here.

use maud::{Markup, html};
use serde_json::Value;

use super::ask::{Answer, Ask, Problem};
use super::frame::Page;
use super::html::{folded, json, link, of, section, status, text, type_name};
use super::links::to;
use super::table::table;
use crate::coverage;
use crate::kernel::faults::{Boot, Effect, Rule};

/// The script in force, and what of it acted.
pub async fn page(ask: &Ask) -> Result<Answer, Problem> {
    let (script, counts) = ask.cloud.faults.report();
    let rows: Vec<Vec<Markup>> = script
        .rules
        .iter()
        .zip(&counts)
        .map(|(rule, count)| {
            let most = rule.calls_max();
            let acted = most.map_or(count.due, |most| count.due.min(most));
            let state = match acted {
                0 => "WAITING",
                acted if most == Some(acted) => "SPENT",
                _ => "ACTIVE",
            };
            vec![
                text(&format!("{}:{}", rule.service, rule.operation)),
                effect(&rule.effect),
                text(&rule.from_call.to_string()),
                text(&on_calls(rule)),
                text(&count.calls.to_string()),
                text(&acted.to_string()),
                status(state),
            ]
        })
        .collect();
    let parameters: Vec<Vec<Markup>> =
        script.parameters.iter().map(|(name, value)| vec![text(name), text(value)]).collect();
    let parameters = table("Parameters", &["Name", "Value"], &parameters);
    let columns =
        ["Operation", "Effect", "#From call", "On calls", "#Calls seen", "#Acted", "State"];
    let body = html! {
        p {
            "A script is put in force with " code { "PUT /_steppe/faults" } " or by "
            code { "faults.json" } " in the state folder when the cloud starts."
        }
        (section("Rules", &table("Rules", &columns, &rows)))
        (section("Public parameters with other values", &parameters))
        @if script != crate::kernel::faults::Script::default() {
            (folded("Script", &json("Script", &serde_json::to_value(&script).unwrap_or_default())))
        }
    };
    Ok(Page::new("Faults", body).into())
}

/// How many calls, and which.
fn on_calls(rule: &Rule) -> String {
    let which = match (rule.every, rule.probability) {
        (Some(every), _) => format!("each {every}th"),
        (None, Some(probability)) => {
            format!("each with {probability}, seed {}", rule.seed.unwrap_or(0))
        }
        (None, None) => String::new(),
    };
    match (rule.calls_max(), which.is_empty()) {
        (Some(most), true) => most.to_string(),
        (Some(most), false) => format!("{most}: {which}"),
        (None, _) => which,
    }
}

fn effect(effect: &Effect) -> Markup {
    match effect {
        Effect::Refuse { status, code, message } => {
            text(&format!("refuse: {status} {code}: {message}"))
        }
        Effect::FailResource { named, reason } => text(&format!("fail {named}: {reason}")),
        Effect::Slow { seconds } => text(&format!("slow: {seconds} s")),
        Effect::FailBoot(Boot::Launch) => text("fail to launch"),
        Effect::FailBoot(Boot::UserData) => text("fail to run user data"),
        Effect::FailBoot(Boot::Checks) => text("fail status checks"),
        Effect::FailUnit { named } => text(&format!("fail {named}.service")),
        other => text(
            serde_json::to_value(other).ok().as_ref().and_then(Value::as_str).unwrap_or_default(),
        ),
    }
}

/// What of AWS is here: by service, or all of one.
pub async fn covered(ask: &Ask) -> Result<Answer, Problem> {
    let coverage = coverage::value();
    let services = coverage["services"].as_array().cloned().unwrap_or_default();
    if let Some(id) = ask.text("service") {
        let service = services.iter().find(|service| service["id"] == id);
        let service =
            service.ok_or_else(|| Problem::absent(format!("There is no service {id}.")))?;
        let page = Page::new(service["name"].as_str().unwrap_or(id), operations(service));
        return Ok(page.below("Coverage", to("covered", &[])).into());
    }
    let rows: Vec<Vec<Markup>> = services
        .iter()
        .map(|service| {
            let id = service["id"].as_str().unwrap_or_default();
            let count =
                |member: &str| text(&service[member].as_array().map_or(0, Vec::len).to_string());
            vec![
                link(&to("covered", &[("service", id)]), service["name"].as_str().unwrap_or(id)),
                count("operations"),
                count("refused"),
            ]
        })
        .collect();
    let types: Vec<Vec<Markup>> = coverage["resource_types"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|kind| {
            vec![
                type_name(kind["name"].as_str().unwrap_or_default()),
                joined(&kind["properties"]),
                joined(&kind["refused"]),
            ]
        })
        .collect();
    let types = table("Resource types", &["Type", "Properties", "Refused"], &types);
    let body = html! {
        p {
            "What is not here is refused by name. The same as JSON is at "
            (link("/_steppe/coverage", "/_steppe/coverage")) "."
        }
        (section("Services", &table("Services", &["Service", "#Operations", "#Refused"], &rows)))
        (section("Resource types of CloudFormation", &types))
    };
    Ok(Page::new("Coverage", body).into())
}

fn joined(names: &Value) -> Markup {
    let names = names.as_array().into_iter().flatten().filter_map(Value::as_str);
    text(&names.collect::<Vec<_>>().join(", "))
}

fn operations(service: &Value) -> Markup {
    let rows: Vec<Vec<Markup>> = service["operations"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|o| vec![of(&o["name"]), joined(&o["reads"]), joined(&o["refuses"])])
        .collect();
    html! {
        (section("Operations", &table("Operations", &["Operation", "Reads", "Refuses"], &rows)))
        (section("Operations that are refused", &html! { p { (joined(&service["refused"])) } }))
    }
}
