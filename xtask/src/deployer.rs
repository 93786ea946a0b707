//! Carries out a deployment plan: makes no choices of its own.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use steppe_aws::{Aws, ChangeSetView, EventView, StackView, TemplateSource};
use steppe_plan::names::Names;
use steppe_plan::review::{Concern, concerns};
use steppe_plan::stack::sha256_hex;
use steppe_plan::status::StackStatus;

use crate::exit::Outcome;
use crate::story::{Story, confirm};

/// First and longest pause between looks at a stack.
const POLL_FIRST: Duration = Duration::from_millis(40);
const POLL_LONGEST: Duration = Duration::from_secs(3);
/// Failed looks in a row before the watch is given up.
const FAILURES_MAX: u32 = 20;
/// Longest time of an operation on a stack.
const OPERATION_LIMIT: Duration = Duration::from_secs(60 * 60);

/// How a change of the stack ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// It took effect.
    Deployed,
    /// There was nothing to change.
    NoChange,
    /// It needs somebody's consent, and there was none.
    NeedsApproval,
    /// It failed and was undone.
    RolledBack,
    /// It failed and could not be undone.
    Wedged,
}

impl Changed {
    /// As an exit code.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Deployed | Self::NoChange => Outcome::Done,
            Self::NeedsApproval => Outcome::NeedsApproval,
            Self::RolledBack => Outcome::RolledBack,
            Self::Wedged => Outcome::Wedged,
        }
    }
}

/// What a change of the stack works with.
pub struct Deployer<'a> {
    /// Calls.
    pub aws: &'a Aws,
    /// Names.
    pub names: &'a Names,
    /// Tells.
    pub story: &'a Story,
    /// Whether consent was given in advance.
    pub yes: bool,
}

impl Deployer<'_> {
    /// Creates or updates the stack through a reviewed change set.
    pub async fn change_stack(&self, create: bool, template_key: &str) -> Result<Changed> {
        let stack = self.names.stack();
        let before = self.aws.stack(&stack).await?.map(|s| s.status);
        let template = TemplateSource {
            bucket: self.names.artifacts_bucket(),
            key: template_key.to_owned(),
            region: self.names.region.clone(),
        };
        // The name holds the template's hash and the time, so that a repeated run makes a new one.
        let set_name = format!(
            "steppe-{}-{}",
            &sha256_hex(template_key.as_bytes())[..8],
            jiff::Timestamp::now().as_millisecond()
        );
        let id = self
            .aws
            .create_change_set(&stack, create, &template, &self.names.tags(), &set_name)
            .await?;
        let changes = match self.await_change_set(&id).await? {
            ChangeSetView::Ready(changes) => changes,
            ChangeSetView::NoChange => {
                self.aws.delete_change_set(&id).await?;
                self.story.note("unchanged", &format!("stack {stack}"));
                return Ok(Changed::NoChange);
            }
            ChangeSetView::Failed(reason) => bail!("CloudFormation refused the template: {reason}"),
            ChangeSetView::Pending => bail!("the change set was not ready in time"),
        };
        if !self.agreed(&concerns(before, &changes)) {
            self.aws.delete_change_set(&id).await?;
            return Ok(Changed::NeedsApproval);
        }
        let seen = self
            .aws
            .events_after(&stack, None)
            .await
            .ok()
            .and_then(|e| e.last().map(|e| e.id.clone()));
        self.aws.execute_change_set(&id, &set_name).await?;
        let view = self.watch(&stack, seen).await?;
        self.judge(&view.context("the stack vanished while it was changed")?)
    }

    /// Whether somebody agrees to what is told, in advance or now.
    pub fn agreed(&self, concerns: &[Concern]) -> bool {
        concerns.iter().for_each(|c| self.story.failed("attention", &c.0));
        let agreed = concerns.is_empty() || self.yes || confirm("Go on?");
        if !agreed {
            self.story.failed("stopped", "nothing was changed; agree with `--yes`");
        }
        agreed
    }

    async fn await_change_set(&self, id: &str) -> Result<ChangeSetView> {
        let (started, mut pause) = (Instant::now(), POLL_FIRST);
        loop {
            match self.aws.change_set(id).await? {
                ChangeSetView::Pending if started.elapsed() < OPERATION_LIMIT => {
                    tokio::time::sleep(pause).await
                }
                view => return Ok(view),
            }
            pause = (pause * 2).min(POLL_LONGEST);
        }
    }

    fn judge(&self, view: &StackView) -> Result<Changed> {
        if view.status.is_deployed() {
            return Ok(Changed::Deployed);
        }
        let reason = view.reason.clone().unwrap_or_default();
        match view.status {
            StackStatus::RollbackComplete | StackStatus::UpdateRollbackComplete => {
                self.story.failed(
                    "rolled back",
                    "the stack is as it was before; the first failure above is the cause",
                );
                Ok(Changed::RolledBack)
            }
            status => {
                self.story.failed("wedged", &format!("the stack is in {status}: {reason}"));
                self.story.note(
                    "way out",
                    "repeat `cargo xtask deploy`: it deletes or continues what this state needs; or `cargo xtask destroy`",
                );
                Ok(Changed::Wedged)
            }
        }
    }

    /// Follows a stack until nothing is in progress; `None` when it is gone. Tells every finished resource.
    pub async fn watch(&self, stack: &str, mut seen: Option<String>) -> Result<Option<StackView>> {
        let (started, mut pause, mut failures) = (Instant::now(), POLL_FIRST, 0);
        let mut begun = std::collections::HashMap::new();
        loop {
            // The verdict comes from the stack itself; asked before the events, so that none is missed at the end.
            let view = self.aws.stack(stack).await;
            let events = self.aws.events_after(stack, seen.as_deref()).await;
            match (&view, &events) {
                (Ok(_), Ok(events)) => {
                    failures = 0;
                    if !events.is_empty() {
                        pause = POLL_FIRST;
                    }
                    events.iter().for_each(|e| self.tell(e, &mut begun));
                    seen = events.last().map(|e| e.id.clone()).or(seen);
                }
                (Ok(None), Err(_)) => return Ok(None),
                (Err(error), _) | (_, Err(error)) => {
                    failures += 1;
                    if failures > FAILURES_MAX {
                        bail!(
                            "the stack cannot be watched any more: {error}; the operation goes on in the cloud, repeat the command to attach to it"
                        );
                    }
                }
            }
            match view {
                Ok(None) => return Ok(None),
                Ok(Some(view)) if !view.status.is_in_progress() => return Ok(Some(view)),
                _ if started.elapsed() > OPERATION_LIMIT => {
                    bail!(
                        "the operation took longer than an hour; it goes on in the cloud, repeat the command to attach to it"
                    )
                }
                _ => tokio::time::sleep(pause).await,
            }
            pause = (pause * 3 / 2).min(POLL_LONGEST);
        }
    }

    fn tell(&self, event: &EventView, begun: &mut std::collections::HashMap<String, f64>) {
        if event.resource_type == "AWS::CloudFormation::Stack" {
            return;
        }
        let what = format!(
            "{} ({})",
            event.logical_id,
            event.resource_type.trim_start_matches("AWS::").replace("::", " ")
        );
        if event.status.ends_with("_IN_PROGRESS") {
            begun.entry(event.logical_id.clone()).or_insert(event.time);
            return;
        }
        let took = begun.remove(&event.logical_id).map_or(0.0, |t| (event.time - t).max(0.0));
        let took = Duration::from_secs_f64(took);
        match event.status.as_str() {
            "CREATE_COMPLETE" => self.story.done("created", &what, took),
            "UPDATE_COMPLETE" => self.story.done("updated", &what, took),
            "DELETE_COMPLETE" => self.story.done("deleted", &what, took),
            failed => self.story.failed(
                "failed",
                &format!(
                    "{what}: {failed}: {}",
                    event.reason.as_deref().unwrap_or("no reason given")
                ),
            ),
        }
    }
}
