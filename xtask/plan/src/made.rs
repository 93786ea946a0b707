//! Exact names of what deployments make, so that a deletion can look for what it left.

use steppe_spec::Manifest;

use crate::components::{self, Component, combinations};
use crate::names::Names;

/// Names, by the kind of what they are of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Made {
    /// Buckets.
    pub buckets: Vec<String>,
    /// Roles.
    pub roles: Vec<String>,
    /// Instance profiles.
    pub instance_profiles: Vec<String>,
    /// Functions.
    pub functions: Vec<String>,
    /// State machines.
    pub machines: Vec<String>,
    /// Rules of EventBridge.
    pub rules: Vec<String>,
    /// Alarms.
    pub alarms: Vec<String>,
    /// Topics.
    pub topics: Vec<String>,
    /// Log groups.
    pub log_groups: Vec<String>,
    /// Glue databases.
    pub databases: Vec<String>,
    /// Glue jobs.
    pub jobs: Vec<String>,
    /// Glue crawlers.
    pub crawlers: Vec<String>,
    /// Work groups of Athena; their named queries go with them.
    pub work_groups: Vec<String>,
    /// Tags of networks and instances; what is in a network keeps it from being deleted.
    pub tags: Vec<(String, String)>,
}

impl Made {
    /// Everything that a deployment may ever have made, whatever options its manifest has now.
    pub fn ever(names: &Names, manifest: &Manifest) -> Self {
        let mut all =
            Self { buckets: vec![names.artifacts_bucket()], tags: names.tags(), ..Self::default() };
        let [_nothing, (_, everything), ..] = &combinations(manifest)[..] else {
            unreachable!("the first two are nothing and everything");
        };
        components::outline(names, everything, |component| all.add(component, names));
        all
    }

    fn add(&mut self, component: &Component, names: &Names) {
        let stack = names.stack();
        let own = |part: &str| format!("{stack}-{part}");
        self.roles.extend(component.roles.iter().map(|role| own(role.name)));
        self.functions.extend(component.functions.iter().map(|function| own(function.name())));
        let groups = component.functions.iter().map(|function| function.name());
        self.log_groups.extend(groups.map(|name| format!("{}/{name}", names.log_prefix())));
        let machines = component.machines.iter();
        self.machines.extend(machines.map(|machine| format!("{stack}{}", machine.suffix)));
        self.rules.extend(component.rules.iter().map(|rule| own(rule.name())));
        self.alarms.extend(component.alarms.iter().map(|alarm| own(alarm.name())));
        let of = &component.made;
        for (all, some) in [
            (&mut self.buckets, &of.buckets),
            (&mut self.instance_profiles, &of.instance_profiles),
            (&mut self.topics, &of.topics),
            (&mut self.log_groups, &of.log_groups),
            (&mut self.databases, &of.databases),
            (&mut self.jobs, &of.jobs),
            (&mut self.crawlers, &of.crawlers),
            (&mut self.work_groups, &of.work_groups),
        ] {
            all.extend_from_slice(some);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::Architecture;
    use crate::site::Site;
    use crate::stack::{ArtifactHashes, StackSpec};

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
        let text = include_str!("../../../model/pipelines/marriages/pipeline.toml");
        let manifest = Manifest::parse("pipeline.toml", text).expect("valid");
        let all = Made::ever(&names, &manifest);
        let mut seen = 0;
        for (options, manifest) in combinations(&manifest) {
            let spec = StackSpec {
                names: &names,
                manifest: &manifest,
                query_sql: manifest.queries.iter().map(|_| "SELECT 1".to_owned()).collect(),
                raw_headers: vec![],
                hashes: ArtifactHashes::default(),
                architecture: Architecture::X86_64,
                site: &Site::embedded(Architecture::X86_64),
            };
            let template = spec.render().expect("renders");
            let lines: Vec<&str> = template.lines().map(str::trim).collect();
            for (at, line) in lines.iter().enumerate() {
                let Some((property, value)) = line.split_once(": ") else { continue };
                let known = match property {
                    "RoleName" => &all.roles,
                    "InstanceProfileName" => &all.instance_profiles,
                    "FunctionName" if !value.starts_with('!') => &all.functions,
                    "StateMachineName" => &all.machines,
                    "AlarmName" => &all.alarms,
                    "TopicName" => &all.topics,
                    "LogGroupName" => &all.log_groups,
                    "BucketName" => &all.buckets,
                    "Name" => match kind_of(&lines[..at]) {
                        "AWS::Events::Rule" => &all.rules,
                        "AWS::Glue::Database" => &all.databases,
                        // Its command has a name, too.
                        "AWS::Glue::Job" if value != "glueetl" => &all.jobs,
                        "AWS::Glue::Crawler" => &all.crawlers,
                        "AWS::Athena::WorkGroup" => &all.work_groups,
                        _ => continue,
                    },
                    _ => continue,
                };
                let value = value.trim_matches(['"', '\'']).to_owned();
                assert!(known.contains(&value), "{options}: {line}");
                seen += 1;
            }
        }
        assert!(seen > 200, "{seen}");
    }

    /// The type of the resource that the last of these lines is of.
    fn kind_of<'a>(lines: &[&'a str]) -> &'a str {
        let kinds = lines.iter().rev().filter_map(|line| line.strip_prefix("Type: "));
        kinds.into_iter().find(|kind| kind.starts_with("AWS::")).unwrap_or_default()
    }
}
