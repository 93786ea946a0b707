//! Definitions are checked when a state machine is made, so that nothing unknown is found half-way.

use serde_json::Value;

use super::{limits, map, retry, tasks};

/// What is wrong with a definition, or nothing.
pub fn check(definition: &Value) -> Result<(), String> {
    if definition["QueryLanguage"] != "JSONata" {
        return Err(
            "the embedded cloud runs state machines with \"QueryLanguage\": \"JSONata\"".to_owned()
        );
    }
    check_keys(
        "the state machine",
        definition,
        &["Comment", "QueryLanguage", "StartAt", "States", "TimeoutSeconds", "Version"],
    )?;
    if let Some(limit) = definition.get("TimeoutSeconds") {
        limits::seconds(limit, "TimeoutSeconds", 1)?;
    }
    map::check_labels(definition)?;
    check_states(definition)
}

fn check_states(machine: &Value) -> Result<(), String> {
    let states = machine["States"].as_object().ok_or("there are no States")?;
    let exists = |name: &Value, of: &str| match name.as_str() {
        Some(name) if states.contains_key(name) => Ok(()),
        _ => Err(format!("{of} names the state {name}, which does not exist")),
    };
    exists(&machine["StartAt"], "StartAt")?;
    for (name, state) in states {
        check_state(name, state)?;
        let choices = state["Choices"].as_array().into_iter().flatten().map(|c| &c["Next"]);
        let catches = state["Catch"].as_array().into_iter().flatten().map(|c| &c["Next"]);
        let own = [state.get("Next"), state.get("Default")].into_iter().flatten();
        own.chain(choices)
            .chain(catches)
            .try_for_each(|next| exists(next, &format!("the state `{name}`")))?;
    }
    Ok(())
}

/// What is wrong with a state that stands alone, for a trial.
pub fn check_alone(name: &str, state: &Value) -> Result<(), String> {
    match state["Type"].as_str() {
        Some("Map" | "Parallel") => {
            Err("the embedded cloud does not implement trials of Map and Parallel".to_owned())
        }
        _ if state["QueryLanguage"] != "JSONata" => {
            Err("the embedded cloud runs states with \"QueryLanguage\": \"JSONata\"".to_owned())
        }
        _ => check_state(name, state),
    }
}

fn check_state(name: &str, state: &Value) -> Result<(), String> {
    let kind = state["Type"].as_str().unwrap_or_default();
    let own: &[&str] = match kind {
        "Pass" => &[],
        "Task" => {
            &["Resource", "Arguments", "TimeoutSeconds", "HeartbeatSeconds", "Retry", "Catch"]
        }
        "Choice" => &["Choices", "Default"],
        "Wait" => &["Seconds", "Timestamp"],
        "Map" => &[
            "Items",
            "ItemReader",
            "ItemSelector",
            "ItemBatcher",
            "MaxConcurrency",
            "ToleratedFailureCount",
            "ToleratedFailurePercentage",
            "ItemProcessor",
            "ResultWriter",
            "Label",
            "Retry",
            "Catch",
        ],
        "Parallel" => &["Branches", "Arguments", "Retry", "Catch"],
        "Succeed" => &[],
        "Fail" => &["Error", "Cause"],
        other => return Err(format!("the state `{name}` has the unknown type `{other}`")),
    };
    let common = ["Type", "Comment", "Next", "End", "Assign", "Output", "QueryLanguage"];
    let known: Vec<&str> = common.iter().chain(own).copied().collect();
    check_keys(&format!("the state `{name}`"), state, &known)?;
    let ends = matches!(kind, "Choice" | "Succeed" | "Fail")
        || state.get("Next").is_some()
        || state["End"] == true;
    if !ends {
        return Err(format!("the state `{name}` has neither Next nor End"));
    }
    check_handlers(state).map_err(|e| format!("the state `{name}`: {e}"))?;
    match kind {
        "Task" => tasks::check(state["Resource"].as_str().unwrap_or_default())
            .map_err(|e| format!("the state `{name}`: {e}")),
        "Map" => {
            map::check(state).map_err(|e| format!("the state `{name}`: {e}"))?;
            check_states(&state["ItemProcessor"])
        }
        "Wait" if state.get("Seconds").is_some() == state.get("Timestamp").is_some() => {
            Err(format!("the state `{name}` needs either Seconds or Timestamp"))
        }
        "Parallel" => state["Branches"].as_array().into_iter().flatten().try_for_each(check_states),
        _ => Ok(()),
    }
}

/// Retriers, catchers and numbers, as far as they are no expressions.
fn check_handlers(state: &Value) -> Result<(), String> {
    retry::check(&state["Retry"])?;
    let catchers = state["Catch"].as_array().map(Vec::as_slice).unwrap_or_default();
    retry::check_names(catchers)?;
    let fields = ["Comment", "ErrorEquals", "Next", "Assign", "Output"];
    catchers.iter().try_for_each(|c| check_keys("a catcher", c, &fields))?;
    let (limit, beat) = (&state["TimeoutSeconds"], &state["HeartbeatSeconds"]);
    if let (Some(limit), Some(beat)) = (limit.as_u64(), beat.as_u64())
        && beat >= limit
    {
        return Err("HeartbeatSeconds must be smaller than TimeoutSeconds".to_owned());
    }
    for (field, least) in [("Seconds", 0), ("TimeoutSeconds", 1), ("HeartbeatSeconds", 1)] {
        if let Some(number) = state.get(field).filter(|value| !value.is_string()) {
            limits::seconds(number, field, least)?;
        }
    }
    match state.get("MaxConcurrency") {
        Some(number) if number.as_u64().is_none() => {
            Err(format!("MaxConcurrency must be a whole number from 0, but is {number}"))
        }
        _ => Ok(()),
    }
}

/// Refuses fields that are not known.
pub fn check_keys(what: &str, value: &Value, known: &[&str]) -> Result<(), String> {
    let keys = value.as_object().ok_or_else(|| format!("{what} is not an object"))?.keys();
    match keys.into_iter().find(|k| !known.contains(&k.as_str())) {
        Some(unknown) => Err(format!(
            "{what} has the field `{unknown}`, which the embedded cloud does not implement"
        )),
        None => Ok(()),
    }
}
