//! Definitions are checked when a state machine is made, so that nothing unknown is found half-way.

use serde_json::Value;

use super::tasks;

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

fn check_state(name: &str, state: &Value) -> Result<(), String> {
    let kind = state["Type"].as_str().unwrap_or_default();
    let own: &[&str] = match kind {
        "Pass" => &[],
        "Task" => &["Resource", "Arguments", "TimeoutSeconds", "Retry", "Catch"],
        "Choice" => &["Choices", "Default"],
        "Wait" => &["Seconds"],
        "Map" => &["Items", "ItemSelector", "MaxConcurrency", "ItemProcessor", "Retry", "Catch"],
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
    match kind {
        "Task" => tasks::check(state["Resource"].as_str().unwrap_or_default())
            .map_err(|e| format!("the state `{name}`: {e}")),
        "Map" => {
            let mode = &state["ItemProcessor"]["ProcessorConfig"]["Mode"];
            if !mode.is_null() && mode != "INLINE" {
                return Err(format!(
                    "the state `{name}`: the embedded cloud runs maps of the mode INLINE, not {mode}"
                ));
            }
            check_states(&state["ItemProcessor"])
        }
        "Parallel" => state["Branches"].as_array().into_iter().flatten().try_for_each(check_states),
        _ => Ok(()),
    }
}

fn check_keys(what: &str, value: &Value, known: &[&str]) -> Result<(), String> {
    let keys = value.as_object().ok_or_else(|| format!("{what} is not an object"))?.keys();
    match keys.into_iter().find(|k| !known.contains(&k.as_str())) {
        Some(unknown) => Err(format!(
            "{what} has the field `{unknown}`, which the embedded cloud does not implement"
        )),
        None => Ok(()),
    }
}
