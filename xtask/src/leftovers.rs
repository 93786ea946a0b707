//! Exact names of everything that a deployment may ever have made, whatever its manifest says now.

use steppe_aws::Wanted;
use steppe_plan::names::Names;

/// Last parts of the names of roles.
const ROLES: [&str; 9] = [
    "check",
    "clean",
    "drift",
    "drift-workflow",
    "predictor",
    "rules",
    "server",
    "train",
    "workflow",
];
/// Last parts of the names of functions.
const FUNCTIONS: [&str; 4] = ["check", "drift", "predictor", "train"];
/// Last parts of the names of rules.
const RULES: [&str; 3] = ["check-drift", "train-on-new-data", "train-on-schedule"];
/// Last parts of the names of alarms.
const ALARMS: [&str; 8] = [
    "check-drift-not-started",
    "drift-executions-failed",
    "drift-executions-timed-out",
    "executions-failed",
    "executions-timed-out",
    "server-unreachable",
    "train-on-new-data-not-started",
    "train-on-schedule-not-started",
];
/// Last parts of the names of log groups.
const LOG_GROUPS: [&str; 7] =
    ["check", "clean", "clean/error", "clean/output", "drift", "predictor", "train"];

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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use steppe_plan::elf::Architecture;
    use steppe_plan::names::Names;
    use steppe_plan::site::Site;
    use steppe_plan::stack::{ArtifactHashes, StackSpec, combinations};
    use steppe_spec::Manifest;

    use super::wanted;

    /// A name that no combination of options may make without its being looked for later.
    #[test]
    fn every_name_in_every_template_is_looked_for() {
        let names = Names {
            project: "p".into(),
            pipeline: "marriages".into(),
            environment: "e".into(),
            account: "000000000000".into(),
            region: "us-east-1".into(),
        };
        let file = "model/pipelines/marriages/pipeline.toml";
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a checkout");
        let text = std::fs::read_to_string(root.join(file)).expect("readable");
        let manifest = Manifest::parse(file, &text).expect("valid");
        let all = wanted(&names);
        let zeros = || "0".repeat(64);
        let mut seen = 0;
        for (options, manifest) in combinations(&manifest) {
            let hashes = ArtifactHashes {
                server: zeros(),
                predictor: zeros(),
                jobs: zeros(),
                train_spec: zeros(),
                glue_script: zeros(),
                etl_plan: zeros(),
            };
            let spec = StackSpec {
                names: &names,
                manifest: &manifest,
                query_sql: manifest.queries.iter().map(|_| "SELECT 1".to_owned()).collect(),
                raw_headers: vec![],
                hashes,
                architecture: Architecture::X86_64,
                site: &Site::embedded(Architecture::X86_64),
            };
            for line in spec.render().expect("renders").lines() {
                let Some((property, value)) = line.trim().split_once(": ") else { continue };
                let known = match property {
                    "RoleName" => &all.roles,
                    "InstanceProfileName" => &all.instance_profiles,
                    "FunctionName" if !value.starts_with('!') => &all.functions,
                    "StateMachineName" => &all.machines,
                    "AlarmName" => &all.alarms,
                    "TopicName" => &all.topics,
                    "LogGroupName" => &all.log_groups,
                    "BucketName" => &all.buckets,
                    _ => continue,
                };
                let value = value.trim_matches(['"', '\'']).to_owned();
                assert!(known.contains(&value), "{options}: {line}");
                seen += 1;
            }
        }
        assert!(seen > 100, "{seen}");
    }
}
