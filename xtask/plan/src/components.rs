//! The parts of a stack. A component is a value that the manifest decides: what it needs, what it
//! grants, which states it adds to a workflow, what it tells and what it costs.
//!
//! Adding one touches its file here, its template, if it has resources of its own kind, and a line
//! of [`COMPONENTS`].

mod alarms;
mod catalogue;
mod checks;
mod cleaning;
mod crawler;
mod drift;
mod look;
mod network;
mod notify;
mod predictor;
mod query;
mod rules;
mod scoring;
mod server;
mod storage;
mod tables;
mod training;
mod uploads;
mod verification;
mod workflow;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::elf::Architecture;
use crate::grants::{Cfn, Grant, Role, Statement};
use crate::made::Made;
use crate::names::Names;
use crate::site::Site;
use crate::smoke_test::MakeChecks;
use crate::stack::{ArtifactHashes, StackSpec};
use crate::workflow::{Machine, Segment};
use steppe_spec::{Catalogue, DriftCheck, Manifest, Retrain, Schedule, Scoring};

pub use scoring::name as predictions_table;
pub use server::SERVER_PORT;
pub(crate) use server::instance;
pub use storage::UNFINISHED_UPLOAD_DAYS;

/// Makes a component, if the manifest asks for it, with a look at those before it in the list.
type Make = fn(&Stack<'_>, &[Component]) -> Option<Component>;

/// Every component. One that gathers what others give, such as the alarms, stands after them.
const COMPONENTS: [Make; 19] = [
    checks::component,
    uploads::component,
    cleaning::component,
    query::component,
    verification::component,
    server::component,
    predictor::component,
    scoring::component,
    crawler::component,
    look::component,
    training::component,
    drift::component,
    workflow::component,
    notify::component,
    rules::component,
    storage::component,
    catalogue::component,
    network::component,
    alarms::component,
];

/// What components are made from.
pub struct Stack<'a> {
    /// Everything that decides the stack.
    pub spec: &'a StackSpec<'a>,
    /// Logical ID of the model server: it carries the hash of what makes the instance.
    pub server_id: String,
}

/// A part of a stack.
#[derive(Default)]
pub struct Component {
    /// Its name, as the template has it above its resources.
    pub name: &'static str,
    /// Resources that no other component has, as its template prints them.
    pub resources: Vec<Fragment>,
    /// Tables of the catalogue.
    pub tables: Vec<Table>,
    /// Functions.
    pub functions: Vec<Function>,
    /// State machines.
    pub machines: Vec<Machine>,
    /// States of machines, its own or others'.
    pub segments: Vec<Segment>,
    /// What starts a machine by itself.
    pub rules: Vec<Rule>,
    /// What ends badly without anybody seeing it.
    pub alarms: Vec<Alarm>,
    /// Where alarms lead.
    pub alarm_actions: Vec<Cfn>,
    /// Roles, without what they may do.
    pub roles: Vec<Role>,
    /// What a role may do, its own or another's. A grant to a role that is not there falls away
    /// with it.
    pub grants: Vec<Grant>,
    /// Outputs of the stack.
    pub outputs: Vec<(&'static str, Cfn)>,
    /// What proves that it works.
    pub checks: Option<MakeChecks>,
    /// Names of what its own fragments make.
    pub made: Made,
    /// What it costs.
    pub cost: Cost,
}

/// A template, and what it prints.
pub struct Fragment {
    /// Its file.
    pub template: &'static str,
    /// Its own context.
    pub context: Value,
}

impl Fragment {
    /// A template with its context.
    pub fn new(template: &'static str, context: impl Serialize) -> Self {
        let context = serde_json::to_value(context).expect("a context of plain values");
        Self { template, context }
    }
}

/// What a component costs, in US dollars.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// A month in which nothing runs; `None` when the price is not known.
    pub idle_month: Option<f64>,
    /// A run, at least.
    pub run: f64,
}

impl Default for Cost {
    fn default() -> Self {
        Self { idle_month: Some(0.0), run: 0.0 }
    }
}

/// A table of the catalogue.
#[derive(Serialize)]
pub struct Table {
    logical_id: String,
    name: String,
    description: String,
    prefix: String,
    parameters: Map<String, Value>,
    input_format: &'static str,
    output_format: &'static str,
    serde: Value,
    columns: Vec<TableColumn>,
    /// `PartitionKeys`, if its files lie in folders.
    partitions: Map<String, Value>,
}

/// A column of a table.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TableColumn {
    name: String,
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

impl TableColumn {
    fn new(name: &str, hive_type: &str) -> Self {
        Self { name: name.to_owned(), r#type: hive_type.to_owned(), comment: None }
    }
}

/// A Lambda function in the network of the stack.
#[derive(Clone, Serialize)]
pub struct Function {
    logical_id: &'static str,
    /// The end of its name, and of its log group's.
    name: &'static str,
    handler: &'static str,
    description: &'static str,
    memory_mb: u32,
    timeout_secs: u32,
    /// Key of its package in the bucket of artifacts.
    code_key: String,
    /// Logical ID of its role.
    role: &'static str,
    variables: BTreeMap<&'static str, Cfn>,
    /// Attributes of the resource, such as what it waits for.
    attributes: Value,
}

/// Something that starts a state machine by itself.
pub struct Rule {
    logical_id: &'static str,
    name: &'static str,
    description: &'static str,
    /// When: a schedule or a pattern of events.
    trigger: Value,
    /// Whether the trigger is an event of the data bucket.
    on_bucket_events: bool,
    /// Logical ID of the state machine.
    machine: &'static str,
    /// Input of the execution; the event when absent.
    input: Option<&'static str>,
}

/// Something that tells people of a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alarm {
    logical_id: String,
    name: String,
    description: &'static str,
    namespace: &'static str,
    metric: &'static str,
    dimension: &'static str,
    /// Logical ID of what the dimension names.
    resource: String,
    period_secs: u32,
    threshold: u32,
}

impl Function {
    /// The end of its name, and of its log group's.
    pub fn name(&self) -> &str {
        self.name
    }

    /// With a further variable of its environment.
    fn with(mut self, name: &'static str, value: Cfn) -> Self {
        self.variables.insert(name, value);
        self
    }
}

impl Rule {
    /// The end of its name.
    pub fn name(&self) -> &str {
        self.name
    }
}

impl Alarm {
    /// The end of its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The two ways in which a machine's execution ends badly. An aborted one was aborted by
    /// somebody.
    fn of_machine(
        machine: &str,
        prefix: &str,
        [failed, timed_out]: [&'static str; 2],
    ) -> [Self; 2] {
        let alarm = |id: &str, name: &str, description, metric| Self {
            logical_id: format!("{machine}{id}"),
            name: format!("{prefix}{name}"),
            description,
            namespace: "AWS/States",
            metric,
            dimension: "StateMachineArn",
            resource: machine.to_owned(),
            period_secs: 300,
            threshold: 1,
        };
        [
            alarm("Failed", "executions-failed", failed, "ExecutionsFailed"),
            alarm("TimedOut", "executions-timed-out", timed_out, "ExecutionsTimedOut"),
        ]
    }
}

impl Stack<'_> {
    /// The components that the manifest asks for.
    pub fn components(&self) -> Vec<Component> {
        let mut made = Vec::with_capacity(COMPONENTS.len());
        for component in COMPONENTS {
            made.extend(component(self, &made));
        }
        made
    }
}

/// Shows the components of a stack as far as neither artifacts nor its place decide them: what they
/// are called, and what proves that they work.
pub fn outline(names: &Names, manifest: &Manifest, mut show: impl FnMut(&Component)) {
    let architecture = Architecture::X86_64;
    let spec = StackSpec {
        names,
        manifest,
        query_sql: vec![],
        raw_headers: vec![],
        hashes: ArtifactHashes::default(),
        architecture,
        site: &Site::embedded(architecture),
    };
    let stack = Stack { spec: &spec, server_id: "ModelServer".to_owned() };
    stack.components().iter().for_each(&mut show);
}

/// Lets a function write to the log group of its own.
fn writes_logs(role: &'static str, groups: &[&str]) -> Grant {
    let actions = ["logs:CreateLogStream", "logs:PutLogEvents"];
    let groups: Vec<Cfn> = groups.iter().map(|group| Cfn::arn(*group)).collect();
    Grant { role, statement: Statement::allow("WriteLogs", &actions, &groups) }
}

/// Lets Lambda attach a function to the network, and keeps the function's own code from it.
fn attaches_to_network(role: &'static str, function: &str, prefix: &str) -> [Grant; 2] {
    const ACTIONS: [&str; 6] = [
        "ec2:CreateNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:DeleteNetworkInterface",
        "ec2:AssignPrivateIpAddresses",
        "ec2:UnassignPrivateIpAddresses",
    ];
    // These actions take no resource.
    let all = [Cfn::Text("*".to_owned())];
    let arn = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function";
    let itself = Cfn::sub(format!("{arn}:{prefix}-{function}"));
    let itself = serde_json::json!({ "lambda:SourceFunctionArn": itself });
    [
        Statement::allow("AttachToNetwork", &ACTIONS, &all),
        Statement::deny("KeepCodeFromNetwork", &ACTIONS, &all).when("ArnEquals", itself),
    ]
    .map(|statement| Grant { role, statement })
}

/// Options of a manifest that add something to the stack, and the options that each needs.
const OPTIONS: [(&str, &[&str]); 9] = [
    ("verify", &[]),
    ("alarms", &[]),
    ("notify", &[]),
    ("retrain", &["verify"]),
    ("train-on-schedule", &["verify"]),
    ("train-on-new-data", &["verify"]),
    ("drift", &[]),
    ("batch", &[]),
    ("crawler", &["batch"]),
];

/// The manifest with nothing of [`OPTIONS`], everything, each alone with what it needs, and each
/// left out with what needs it; each with a name. For checks of the template.
pub fn combinations(manifest: &Manifest) -> Vec<(String, Manifest)> {
    let of = |keep: &dyn Fn(&str, &[&str]) -> bool| {
        let kept = OPTIONS.into_iter().filter(|(option, needs)| keep(option, needs));
        kept.map(|(option, _)| option).collect::<Vec<_>>()
    };
    let alone = |(option, needs): (&str, &[&str])| {
        (format!("only-{option}"), of(&|other, _| other == option || needs.contains(&other)))
    };
    let left_out = |(option, _): (&str, &[&str])| {
        let without = of(&|other, needs| other != option && !needs.contains(&option));
        (format!("without-{option}"), without)
    };
    let nothing = ("nothing".to_owned(), vec![]);
    let everything = ("everything".to_owned(), of(&|_, _| true));
    [nothing, everything]
        .into_iter()
        .chain(OPTIONS.into_iter().map(alone))
        .chain(OPTIONS.into_iter().map(left_out))
        .map(|(name, options)| (name, with_options(manifest, &options)))
        .collect()
}

/// Few manifests, of which one has and one lacks each option beside each other option, as far as
/// the needs of options allow it: what two options do to each other shows. For deployments, which
/// take their time.
pub fn pairs(manifest: &Manifest) -> Vec<(String, Manifest)> {
    let allowed = |bits: u32| {
        let on = |option: &str| {
            let index = OPTIONS.iter().position(|(other, _)| *other == option);
            index.is_some_and(|index| bits >> index & 1 == 1)
        };
        OPTIONS.iter().all(|(option, needs)| !on(option) || needs.iter().all(|need| on(need)))
    };
    let together = |bits: &u32| -> BTreeSet<[(usize, bool); 2]> {
        let state = |index: usize| (index, bits >> index & 1 == 1);
        let each = (0..OPTIONS.len()).flat_map(|one| (0..one).map(move |other| (one, other)));
        each.map(|(one, other)| [state(one), state(other)]).collect()
    };
    let mut left: Vec<u32> = (0..1 << OPTIONS.len()).filter(|bits| allowed(*bits)).collect();
    let mut missing: BTreeSet<_> = left.iter().flat_map(together).collect();
    let mut chosen = Vec::new();
    while !missing.is_empty() {
        // Of as many new pairs the fewest options: with nothing at all it begins.
        let news = |bits: &u32| together(bits).intersection(&missing).count();
        left.sort_by_key(|bits| (Reverse(news(bits)), bits.count_ones()));
        let bits = left[0];
        missing = missing.difference(&together(&bits)).copied().collect();
        let names = OPTIONS.iter().enumerate().filter(|(index, _)| bits >> index & 1 == 1);
        let names: Vec<&str> = names.map(|(_, (option, _))| *option).collect();
        chosen.push((names.join("+"), with_options(manifest, &names)));
    }
    chosen
}

fn with_options(manifest: &Manifest, options: &[&str]) -> Manifest {
    let on = |option: &str| options.contains(&option);
    let schedule = |text: &str| text.parse::<Schedule>().expect("a schedule");
    let mut manifest = manifest.clone();
    manifest.stack.verify = on("verify");
    manifest.stack.alarms = on("alarms");
    manifest.stack.notify = on("notify");
    manifest.stack.scoring = if on("batch") { Scoring::Batch } else { Scoring::Online };
    manifest.stack.catalogue = match on("crawler") && manifest.scores_batches() {
        true => Catalogue::Crawler,
        false => Catalogue::Declared,
    };
    let retrain = Retrain {
        schedule: on("train-on-schedule").then(|| schedule("cron(0 6 1 * ? *)")),
        on_new_data: on("train-on-new-data"),
        ..Retrain::default()
    };
    let trains = on("retrain") || retrain.schedule.is_some() || retrain.on_new_data;
    manifest.retrain = trains.then_some(retrain);
    manifest.drift = on("drift").then(|| DriftCheck { schedule: schedule("rate(1 day)") });
    manifest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::Architecture;
    use crate::names::Names;
    use crate::site::Site;
    use crate::stack::ArtifactHashes;

    #[test]
    fn few_stacks_have_and_lack_each_component_beside_each_other() {
        let text = include_str!("../../../model/pipelines/marriages/pipeline.toml");
        let manifest = Manifest::parse("pipeline.toml", text).expect("valid");
        let pairs = pairs(&manifest);
        assert!(pairs.len() < 11, "{}", pairs.len());
        let some = |of: &dyn Fn(&Manifest) -> bool| pairs.iter().any(|(_, m)| of(m));
        assert!(some(&|m| m.stack.notify && m.drift.is_some()));
        assert!(some(&|m| m.stack.notify && m.drift.is_none()));
        assert!(some(&|m| !m.stack.notify && m.drift.is_some()));
        assert!(some(&|m| !m.stack.notify && m.drift.is_none()));
        assert!(some(&|m| m.stack.catalogue == Catalogue::Crawler && !m.stack.alarms));
        assert!(some(&|m| m.retrain.is_some() && !m.scores_batches()));
    }

    /// What is granted to nobody, or added to no machine, is lost without a word: with everything
    /// there, that is a wrong name. What answers in batches and what asks the server take turns.
    #[test]
    fn with_everything_there_no_grant_and_no_state_is_lost() {
        let manifests = [
            include_str!("../../../model/pipelines/marriages/pipeline.toml"),
            include_str!("../../../model/pipelines/stroke/pipeline.toml"),
            include_str!("../../../model/pipelines/energy/pipeline.toml"),
        ];
        let whole = |text| ["everything", "without-batch"].map(|which| complete(text, which));
        let names = manifests.map(whole).into_iter().flatten().flatten();
        let each: std::collections::BTreeSet<&str> = names.collect();
        assert_eq!(each.len(), COMPONENTS.len(), "each is there");
    }

    /// Names of the components of a manifest with almost everything.
    fn complete(text: &str, which: &str) -> Vec<&'static str> {
        let manifest = Manifest::parse("pipeline.toml", text).expect("valid");
        let mut all = combinations(&manifest).into_iter();
        let (_, manifest) = all.find(|(name, _)| name == which).expect("a combination");
        let text = str::to_owned;
        let names = Names {
            project: text("p"),
            pipeline: text("marriages"),
            environment: text("e"),
            account: text("000000000000"),
            region: text("us-east-1"),
        };
        let spec = StackSpec {
            names: &names,
            manifest: &manifest,
            query_sql: vec![],
            raw_headers: vec![],
            hashes: ArtifactHashes::default(),
            architecture: Architecture::X86_64,
            site: &Site::embedded(Architecture::X86_64),
        };
        let all = Stack { spec: &spec, server_id: text("ModelServer") }.components();
        let roles: Vec<_> = all.iter().flat_map(|c| &c.roles).map(|r| r.logical_id).collect();
        let machines: Vec<_> = all.iter().flat_map(|c| &c.machines).map(|m| m.logical_id).collect();
        for component in &all {
            assert!(component.grants.iter().all(|g| roles.contains(&g.role)), "{}", component.name);
            let known = |segment: &Segment| machines.contains(&segment.machine);
            assert!(component.segments.iter().all(known), "{}", component.name);
        }
        all.iter().map(|component| component.name).collect()
    }
}
