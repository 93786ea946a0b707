//! Exact names of everything that a deployment may ever have made, whatever its manifest says now.

use steppe_aws::Wanted;
use steppe_plan::names::Names;

/// Last parts of the names of roles.
const ROLES: [&str; 8] =
    ["clean", "drift", "drift-workflow", "predictor", "rules", "server", "train", "workflow"];
/// Last parts of the names of functions.
const FUNCTIONS: [&str; 3] = ["drift", "predictor", "train"];
/// Last parts of the names of rules.
const RULES: [&str; 3] = ["check-drift", "train-on-new-data", "train-on-schedule"];
/// Last parts of the names of alarms.
const ALARMS: [&str; 4] =
    ["drift-check-failed", "executions-failed", "predictor-errors", "train-errors"];
/// Last parts of the names of log groups.
const LOG_GROUPS: [&str; 6] =
    ["clean", "clean/error", "clean/output", "drift", "predictor", "train"];

/// Everything that a deployment may have made.
pub fn wanted(names: &Names) -> Wanted {
    let stack = names.stack();
    let of_stack = |parts: &[&str]| parts.iter().map(|part| format!("{stack}-{part}")).collect();
    let groups = LOG_GROUPS.iter().map(|part| format!("{}/{part}", names.log_prefix()));
    Wanted {
        buckets: vec![names.data_bucket(), names.artifacts_bucket()],
        roles: roles(names),
        instance_profiles: of_stack(&["server"]),
        functions: functions(names),
        machines: vec![stack.clone(), format!("{stack}-drift")],
        rules: of_stack(&RULES),
        alarms: of_stack(&ALARMS),
        topics: vec![stack.clone()],
        log_groups: groups.collect(),
        databases: vec![names.database()],
        jobs: of_stack(&["clean"]),
        work_groups: vec![stack.clone()],
        tags: names.tags(),
    }
}

/// Names of the roles of a deployment.
pub fn roles(names: &Names) -> Vec<String> {
    ROLES.iter().map(|part| format!("{}-{part}", names.stack())).collect()
}

/// Names of the functions of a deployment.
pub fn functions(names: &Names) -> Vec<String> {
    FUNCTIONS.iter().map(|part| format!("{}-{part}", names.stack())).collect()
}
