//! Stacks that fail, and their ways out: scripts in `scenarios/NAME.scenario`, and beside each what
//! came of it, `NAME.txt`: refusals in words, events in their order, the status after each step.
//!
//! A script has one step per line:
//!
//! ```text
//! # What a person reads.
//! template one                      and the indented lines below it
//! fault UpdateResource Own: words   the next time that point comes to it, `Own` fails with words;
//! fault 2 UpdateResource Own: words the time after the next; rules hold until others are given
//! UpdateStack StackName=s TemplateBody=@one        an operation; values are JSON or text
//! & CreateStack StackName=s …       the same, without waiting for its end
//! until Own CREATE_IN_PROGRESS      waits for an event
//! clock 600                         puts the clock forward, by seconds
//! settle                            waits for the end of what is under way
//! resources                         shows what the stack has
//! ```
//!
//! The stack is called `s`. `EXPECTORATE=overwrite cargo test --test all stack_scenarios` writes
//! the results anew.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use regex::Regex;
use serde_json::{Value, json};

use crate::cloudformation_account::{Account, settle};
use crate::tools::root;

/// What differs from run to run, and what stands for it.
const VARYING: [(&str, &str); 4] = [
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"),
    (r"\b[0-9a-f]{32}\b", "UUID"),
    (r"(\w+)-[0-9A-F]{12}\b", "$1-RANDOM"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
];

/// A script while it runs.
pub struct Run {
    pub account: Account,
    templates: BTreeMap<String, String>,
    rules: Vec<Value>,
    /// The stack's ID, once there is one.
    pub stack: Option<String>,
    /// What the last call was refused with.
    pub refusal: Option<String>,
    /// Events that have been shown.
    seen: usize,
    told: String,
}

impl Run {
    pub fn new() -> Self {
        Self {
            account: Account::new(),
            templates: BTreeMap::new(),
            rules: vec![],
            stack: None,
            refusal: None,
            seen: 0,
            told: String::new(),
        }
    }

    fn tell(&mut self, line: &str) {
        self.told += &format!("{line}\n");
    }

    /// Does the steps of a script.
    pub async fn script(&mut self, script: &str) {
        let mut lines = script.lines().filter(|line| !line.trim().is_empty()).peekable();
        while let Some(line) = lines.next() {
            let Some(name) = line.strip_prefix("template ") else {
                self.step(line.trim()).await;
                continue;
            };
            let mut template = String::new();
            while let Some(inner) = lines.next_if(|line| line.starts_with("  ")) {
                template += &format!("{}\n", &inner[2..]);
            }
            self.templates.insert(name.to_owned(), template);
        }
    }

    async fn step(&mut self, line: &str) {
        let is_prose = line.starts_with('#');
        let follows = self.told.lines().next_back().is_some_and(|last| last.starts_with('#'));
        self.tell(&match (is_prose, follows) {
            (true, true) => line.to_owned(),
            (true, false) => format!("\n{line}"),
            (false, _) => format!("> {line}"),
        });
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "#" => {}
            "fault" => self.fault(rest),
            "until" => self.until(rest).await,
            "clock" => self.clock(rest.parse().expect("seconds")).await,
            "settle" => self.settle().await,
            "resources" => self.resources().await,
            "&" => self.call(rest).await,
            _ => {
                self.call(line).await;
                self.settle().await;
            }
        }
    }

    fn fault(&mut self, rest: &str) {
        let (rest, reason) = rest.split_once(": ").expect("words");
        let mut words = rest.split(' ').rev();
        let (named, point) = (words.next().expect("a name"), words.next().expect("a point"));
        let from: u64 = words.next().map_or(1, |number| number.parse().expect("a number"));
        self.rules.push(json!({
            "service": "cloudformation", "operation": point, "from_call": from,
            "effect": { "fail_resource": { "named": named, "reason": reason } },
        }));
        let script = json!({ "rules": self.rules }).to_string();
        self.account.cloud.faults.set(script.as_bytes()).expect("a script");
    }

    async fn call(&mut self, line: &str) {
        let mut words = line.split(' ');
        let operation = words.next().expect("an operation");
        let mut params = json!({});
        for (name, value) in words.filter_map(|word| word.split_once('=')) {
            params[name] = match value.strip_prefix('@') {
                Some(template) => self.templates[template].as_str().into(),
                None => serde_json::from_str(value).unwrap_or_else(|_| value.into()),
            };
        }
        self.rules.clear();
        match self.account.call(operation, params).await {
            Err(refusal) => {
                self.tell(&format!("  refused: {refusal}"));
                self.refusal = Some(refusal);
            }
            Ok(answer) => {
                let id = answer["StackId"].as_str().map(str::to_owned);
                if id.is_some() && id != self.stack {
                    (self.stack, self.seen) = (id, 0);
                }
            }
        }
    }

    async fn until(&mut self, event: &str) {
        for _ in 0..2_000 {
            let story = self.account.story(self.stack.as_ref().expect("a stack")).await;
            if story[self.seen..].iter().any(|line| line.starts_with(event)) {
                return self.show().await;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("`{event}` does not come:\n{}", self.told);
    }

    /// Whoever waits may have begun to after the clock was put forward once.
    async fn clock(&mut self, seconds: u64) {
        for _ in 0..20 {
            self.account.cloud.clock.advance(Duration::from_secs(seconds));
            tokio::task::yield_now().await;
        }
    }

    async fn settle(&mut self) {
        let Some(id) = self.stack.clone() else { return };
        let status = settle(&self.account.cloud, &id).await;
        self.show().await;
        self.tell(&format!("  = {status}"));
    }

    async fn show(&mut self) {
        let story = self.account.story(self.stack.as_ref().expect("a stack")).await;
        for line in &story[self.seen.min(story.len())..] {
            self.told += &format!("  {line}\n");
        }
        self.seen = story.len();
    }

    async fn resources(&mut self) {
        let params = json!({ "StackName": self.stack });
        let answer = self.account.call("ListStackResources", params).await.expect("listed");
        for resource in answer["StackResourceSummaries"].as_array().into_iter().flatten() {
            let text = |name: &str| resource[name].as_str().unwrap_or_default();
            let line = format!("  {} {}", text("LogicalResourceId"), text("ResourceStatus"));
            self.told += &format!("{line} {}\n", text("PhysicalResourceId"));
        }
    }
}

/// Runs a script and compares what came of it.
async fn check(file: &Path) {
    let mut run = Run::new();
    run.script(&std::fs::read_to_string(file).expect("readable")).await;
    let mut told = run.told.trim_start().to_owned();
    for (varying, constant) in VARYING {
        let varying = Regex::new(varying).expect("a pattern");
        told = varying.replace_all(&told, constant).into_owned();
    }
    expectorate::assert_contents(file.with_extension("txt"), &told);
}

#[tokio::test]
async fn scripts_give_what_is_written_beside_them() {
    let folder = root().join("tests/all/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "scenario"))
        .collect();
    files.sort();
    assert!(files.len() > 5, "{files:?}");
    for file in files {
        check(&file).await;
    }
}
