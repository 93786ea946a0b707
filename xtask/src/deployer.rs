//! Changes and deletes stacks, and follows what it began. Makes no choices of its own.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use steppe_aws::{
    Aws, AwsError, ChangeSetView, EventStatus, EventView, Kind, Purpose, StackView, TemplateSource,
};
use steppe_plan::names::Names;
use steppe_plan::review::{Concern, concerns};
use steppe_plan::stack::sha256_hex;
use steppe_plan::status::StackStatus;

use crate::exit::{DISK_IS_FULL, Outcome, tells_of_a_full_disk};
use crate::interrupt::UnderWay;
use crate::leftovers;
use crate::local::LocalCloud;
use crate::story::{Story, confirm};

/// Longest time of an operation on a stack.
const OPERATION_LIMIT: Duration = Duration::from_secs(60 * 60);
/// Longest time in which a stack may show no sign of an operation that was begun.
const SIGN_LIMIT: Duration = Duration::from_secs(3 * 60);
/// How often interfaces that Lambda left are deleted before the stack's deletion is given up.
const INTERFACE_ROUNDS: u32 = 3;
/// Longest wait for interfaces that are still in use; Lambda takes up to 40 minutes.
const INTERFACE_LIMIT: Duration = Duration::from_secs(45 * 60);

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

/// How often a cloud is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    first: Duration,
    longest: Duration,
    /// Failed looks in a row before the watch is given up.
    failures_max: u32,
}

impl Pace {
    /// A process on this machine, which nobody else asks.
    pub const NEAR: Self =
        Self { first: Duration::from_millis(40), longest: Duration::from_secs(3), failures_max: 3 };
    /// A service that throttles a whole account.
    pub const FAR: Self = Self {
        first: Duration::from_millis(1_500),
        longest: Duration::from_secs(5),
        failures_max: 20,
    };
}

/// Whose operation is followed.
enum Whose {
    /// Ours; the newest event before it was begun.
    Ours { before: Option<String> },
    /// Somebody else's, or one of an earlier command.
    Somebodys,
}

/// What was told of an operation.
#[derive(Default)]
struct Told {
    /// When each resource's work began.
    begun: HashMap<String, f64>,
    /// Whether something failed because a disk is full.
    full: bool,
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
    /// The embedded cloud, when it is the one that is spoken to.
    pub local: Option<&'a LocalCloud>,
}

impl Deployer<'_> {
    /// Creates or updates the stack through a reviewed change set.
    pub async fn change_stack(&self, create: bool, template_key: &str) -> Result<Changed> {
        let stack = self.names.stack();
        let before = self.aws.stack(&stack).await?.map(|s| s.status);
        let template =
            TemplateSource { bucket: self.names.artifacts_bucket(), key: template_key.to_owned() };
        // The name holds the template's hash and the time, so that a repeated run makes a new one.
        let set_name = format!(
            "steppe-{}-{}",
            &sha256_hex(template_key.as_bytes())[..8],
            jiff::Timestamp::now().as_millisecond()
        );
        let purpose = if create { Purpose::Create } else { Purpose::Update };
        let id = self
            .aws
            .create_change_set(&stack, purpose, &template, &self.names.tags(), &set_name)
            .await?;
        let changes = match self.await_change_set(&id).await? {
            ChangeSetView::Ready(changes) => changes,
            ChangeSetView::NoChange => {
                self.aws.delete_change_set(&id).await?;
                self.story.note("unchanged", &format!("stack {stack}"));
                return Ok(Changed::NoChange);
            }
            ChangeSetView::Failed { reason, details } => {
                let details: Vec<String> = details.iter().map(|d| format!("\n  {d}")).collect();
                bail!("CloudFormation refused the template: {reason}{}", details.concat())
            }
            ChangeSetView::Pending => bail!("the change set was not ready in time"),
        };
        if !self.agreed(&concerns(before, &changes)) {
            self.aws.delete_change_set(&id).await?;
            return Ok(Changed::NeedsApproval);
        }
        // From here on by its ID: a name may mean a deleted stack, or one that is made meanwhile.
        let stack =
            self.aws.stack(&stack).await?.context("the stack vanished before it was changed")?.id;
        let before = self.aws.newest_event(&stack).await?;
        self.aws.execute_change_set(&id, &set_name).await?;
        let view = self.follow(&stack, Whose::Ours { before }).await?;
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

    /// Empties a bucket of which somebody has agreed to lose `agreed` objects; false when there are
    /// more by now, and nobody agrees to that.
    pub async fn empty(&self, bucket: &str, agreed: u64) -> Result<bool> {
        let started = Instant::now();
        let keys = self.aws.keys(bucket, "").await?;
        let count = keys.len() as u64;
        let more =
            Concern(format!("{bucket} has {count} objects by now, and all of them are lost"));
        if count > agreed && !self.agreed(&[more]) {
            return Ok(false);
        }
        self.aws.delete_objects(bucket, &keys).await?;
        self.story.done("emptied", &format!("{bucket} ({count} objects)"), started.elapsed());
        Ok(true)
    }

    fn pace(&self) -> Pace {
        if self.aws.is_near() { Pace::NEAR } else { Pace::FAR }
    }

    /// Bears a failed look, unless there were too many, or nobody is there to look at any more.
    fn bear(&self, error: AwsError, failures: &mut u32) -> Result<()> {
        *failures += 1;
        let hopeless = matches!(error.kind, Kind::Denied | Kind::Credentials);
        if self.local.is_some_and(|local| local.running().is_none()) {
            return Err(error).context(
                "the embedded cloud has ended while the stack was changed\nhint: `cargo xtask \
                 local start` starts it, and it goes on where it was; its log is \
                 `.steppe/local/cloud.log`",
            );
        }
        if hopeless || *failures > self.pace().failures_max {
            return Err(error).context(
                "the stack cannot be watched any more\nhint: the operation goes on in the cloud; \
                 repeat the command to attach to it",
            );
        }
        Ok(())
    }

    async fn await_change_set(&self, id: &str) -> Result<ChangeSetView> {
        let (started, mut pause, mut failures) = (Instant::now(), self.pace().first, 0);
        loop {
            match self.aws.change_set(id).await {
                Ok(ChangeSetView::Pending) if started.elapsed() < OPERATION_LIMIT => failures = 0,
                Ok(view) => return Ok(view),
                Err(error) if error.is_passing() => self.bear(error, &mut failures)?,
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(self.pace().longest);
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
                    "repeat `cargo xtask deploy`: it deletes or continues what this state needs; \
                     or `cargo xtask destroy`",
                );
                Ok(Changed::Wedged)
            }
        }
    }

    /// Deletes the stack; the view of what is left, if it could not be deleted.
    pub async fn delete_stack(&self) -> Result<Option<StackView>> {
        let name = self.names.stack();
        let Some(stack) = self.aws.stack(&name).await? else { return Ok(None) };
        let mut rounds = 0;
        loop {
            let before = self.aws.newest_event(&stack.id).await?;
            self.aws.delete_stack(&stack.id, &token("delete")).await?;
            let left = self.follow(&stack.id, Whose::Ours { before }).await?;
            let Some(left) = left.filter(|s| s.status != StackStatus::DeleteComplete) else {
                return Ok(None);
            };
            rounds += 1;
            if rounds > INTERFACE_ROUNDS || !self.freed_network(&left).await? {
                return Ok(Some(left));
            }
        }
    }

    /// Deletes the interfaces that keep a network from being deleted: Lambda leaves them when the
    /// role of a function is deleted before they are. Says whether there were any.
    async fn freed_network(&self, left: &StackView) -> Result<bool> {
        if left.status != StackStatus::DeleteFailed {
            return Ok(false);
        }
        let resources = self.aws.stack_resources(&left.id).await?;
        let blocked = resources.iter().any(|r| {
            r.status == "DELETE_FAILED"
                && matches!(
                    r.resource_type.as_str(),
                    "AWS::EC2::Subnet" | "AWS::EC2::SecurityGroup"
                )
        });
        if !blocked {
            return Ok(false);
        }
        let functions = leftovers::functions(self.names);
        let (began, mut deleted) = (Instant::now(), 0);
        loop {
            let (now, in_use) = self.aws.delete_interfaces_of(&functions).await?;
            deleted += now;
            if in_use == 0 || began.elapsed() > INTERFACE_LIMIT {
                break;
            }
            self.story.note("waiting", &format!("{in_use} network interfaces are still in use"));
            tokio::time::sleep(self.pace().longest * 10).await;
        }
        self.story.note("deleted", &format!("{deleted} network interfaces that Lambda left"));
        Ok(deleted > 0)
    }

    /// Continues a rollback that failed.
    pub async fn continue_rollback(&self) -> Result<()> {
        let stack = self.aws.stack(&self.names.stack()).await?.context("the stack vanished")?;
        let before = self.aws.newest_event(&stack.id).await?;
        self.aws.continue_rollback(&stack.id, &token("continue")).await?;
        self.follow(&stack.id, Whose::Ours { before }).await?;
        Ok(())
    }

    /// Waits for the end of an operation that somebody else, or an earlier command, began.
    pub async fn attach(&self) -> Result<()> {
        if let Some(stack) = self.aws.stack(&self.names.stack()).await? {
            self.follow(&stack.id, Whose::Somebodys).await?;
        }
        Ok(())
    }

    /// Follows a stack until nothing is in progress; `None` when it is gone. Tells every finished
    /// resource.
    ///
    /// The verdict comes from the stack itself, but reads of it may be old: what it was before an
    /// operation of ours is no verdict. So a status counts when an event since then says the same.
    async fn follow(&self, stack: &str, whose: Whose) -> Result<Option<StackView>> {
        let _under_way = UnderWay::begin(&format!(
            "the change of the stack {} goes on in the cloud; repeat the command to attach to it, \
             or look with `cargo xtask status`",
            self.names.stack()
        ));
        let ours = matches!(whose, Whose::Ours { .. });
        let mut seen = match whose {
            Whose::Ours { before } => before,
            Whose::Somebodys => self.begin_of_operation(stack).await?,
        };
        let (started, mut pause, mut failures) = (Instant::now(), self.pace().first, 0);
        let (mut told, mut said) = (Told::default(), None);
        loop {
            // Asked before the events, so that none is missed at the end.
            let view = self.aws.stack(stack).await;
            let events = self.aws.events_after(stack, seen.as_deref()).await;
            let view = match (view, events) {
                (Ok(view), Ok(events)) => {
                    failures = 0;
                    if !events.is_empty() {
                        pause = self.pace().first;
                    }
                    events.iter().for_each(|e| self.tell(e, &mut told));
                    said = events.iter().rev().find_map(|e| e.stack_status).or(said);
                    seen = events.last().map(|e| e.id.clone()).or(seen);
                    view
                }
                (Ok(None), Err(error)) if error.is_not_found() => return Ok(None),
                (Err(error), _) | (_, Err(error)) => {
                    self.bear(error, &mut failures)?;
                    tokio::time::sleep(pause).await;
                    continue;
                }
            };
            let Some(view) = view else { return Ok(None) };
            let ended = !view.status.is_in_progress() && (!ours || said == Some(view.status));
            if ended {
                if told.full {
                    self.story.note("hint", DISK_IS_FULL);
                }
                return Ok(Some(view));
            }
            if ours && said.is_none() && started.elapsed() > SIGN_LIMIT {
                bail!(
                    "the stack shows no sign of the operation that was begun; it is in {}\nhint: \
                     `cargo xtask status` shows it; repeat the command",
                    view.status
                );
            }
            if started.elapsed() > OPERATION_LIMIT {
                bail!(
                    "the operation took longer than an hour\nhint: it goes on in the cloud; repeat \
                     the command to attach to it"
                );
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(self.pace().longest);
        }
    }

    /// The last event before the operation that goes on.
    async fn begin_of_operation(&self, stack: &str) -> Result<Option<String>> {
        let events = self.aws.events_after(stack, None).await?;
        let (mut at_work, mut begin) = (false, 0);
        for (i, status) in events.iter().enumerate().filter_map(|(i, e)| Some((i, e.stack_status?)))
        {
            if status.is_in_progress() && !at_work {
                begin = i;
            }
            at_work = status.is_in_progress();
        }
        Ok(begin.checked_sub(1).and_then(|i| events.get(i)).map(|e| e.id.clone()))
    }

    fn tell(&self, event: &EventView, told: &mut Told) {
        if event.resource_type == "AWS::CloudFormation::Stack" {
            return;
        }
        let what = format!(
            "{} ({})",
            event.logical_id,
            event.resource_type.trim_start_matches("AWS::").replace("::", " ")
        );
        if event.status == EventStatus::InProgress {
            told.begun.entry(event.logical_id.clone()).or_insert(event.time);
            return;
        }
        let took = told.begun.remove(&event.logical_id).map_or(0.0, |t| (event.time - t).max(0.0));
        let took = Duration::from_secs_f64(took);
        let reason = event.reason.as_deref();
        told.full |= reason.is_some_and(tells_of_a_full_disk);
        match &event.status {
            EventStatus::InProgress => {}
            EventStatus::Created => self.story.done("created", &what, took),
            EventStatus::Updated => self.story.done("updated", &what, took),
            EventStatus::Deleted => self.story.done("deleted", &what, took),
            EventStatus::Kept => self.story.note("kept", &what),
            EventStatus::Failed(word) => self.story.failed(
                "failed",
                &format!("{what}: {word}: {}", reason.unwrap_or("no reason given")),
            ),
            EventStatus::Other(word) => {
                self.story.note("noted", &format!("{what} {word} {}", reason.unwrap_or_default()));
            }
        }
    }
}

/// A token by which CloudFormation knows a repeated request.
fn token(verb: &str) -> String {
    format!("steppe-{verb}-{}", jiff::Timestamp::now().as_millisecond())
}
