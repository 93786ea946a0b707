//! Changes and deletes stacks. Makes no choices of its own.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use steppe_aws::{Aws, ChangeSetView, Purpose, StackView, TemplateSource};
use steppe_plan::events::{Answerer, Did, Doing, Event, Fact, Finding, Outcome, Step};
use steppe_plan::made::Made;
use steppe_plan::names::Names;
use steppe_plan::review::{Change, Concern, concerns};
use steppe_plan::stack::sha256_hex;
use steppe_plan::status::{ResourceStatus, StackStatus};
use steppe_spec::Manifest;

use crate::host::Host;
use crate::local::LocalCloud;
use crate::watch::{Pace, Watch, Whose};

/// How often what keeps a stack is cleared away before its deletion is given up.
const ROUNDS_MAX: u32 = 3;
/// Longest wait for interfaces that are still in use; Lambda takes up to 40 minutes.
const INTERFACE_LIMIT: Duration = Duration::from_secs(45 * 60);

/// How a change of the stack ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// As the end of a verb.
    pub fn outcome(self) -> Outcome {
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
    /// The pipeline.
    pub manifest: &'a Manifest,
    /// Is told and asked.
    pub host: &'a Host,
    /// Whether consent was given in advance.
    pub yes: bool,
    /// The embedded cloud, when it is the one that is spoken to.
    pub local: Option<&'a LocalCloud>,
}

impl Deployer<'_> {
    /// Names of everything that the deployment may ever have made.
    pub fn made(&self) -> Made {
        Made::ever(self.names, self.manifest)
    }

    fn watch(&self) -> Watch<'_> {
        Watch { aws: self.aws, names: self.names, host: self.host, local: self.local }
    }

    /// Creates or updates the stack through a reviewed change set.
    pub async fn change_stack(&self, purpose: Purpose, template_key: &str) -> Result<Changed> {
        let name = self.names.stack();
        let before = self.aws.stack(&name).await?.map(|s| s.status);
        // The name holds the template's hash and the time, so that a repeated run makes a new one.
        let set_name = format!(
            "steppe-{}-{}",
            &sha256_hex(template_key.as_bytes())[..8],
            jiff::Timestamp::now().as_millisecond()
        );
        let Some((id, changes)) = self.compared(purpose, template_key, &set_name).await? else {
            self.host.fact(Fact::StackUnchanged { stack: name });
            return Ok(Changed::NoChange);
        };
        if !self.agreed(&concerns(before, &changes)) {
            self.aws.delete_change_set(&id).await?;
            return Ok(Changed::NeedsApproval);
        }
        let step = match purpose {
            Purpose::Create => Step::CreateStack,
            Purpose::Update => Step::UpdateStack,
        };
        let work = self.host.begin(step, name.clone());
        // From here on by its ID: a name may mean a deleted stack, or one that is made meanwhile.
        let stack =
            self.aws.stack(&name).await?.context("the stack vanished before it was changed")?.id;
        let before = self.aws.newest_event(&stack).await?;
        self.aws.execute_change_set(&id, &set_name).await?;
        let told = (&work, changes.len() as u64);
        let ended = self.watch().follow(&stack, Whose::Ours { before }, told).await?;
        let view = ended.stack.context("the stack vanished while it was changed")?;
        if view.status.is_deployed() {
            let resources = ended.resources;
            work.done(match purpose {
                Purpose::Create => Did::CreateStack { stack: name, resources },
                Purpose::Update => Did::UpdateStack { stack: name, resources },
            });
        }
        Ok(self.judge(&view))
    }

    /// A change set that can be executed, and what it changes; `None` when there is nothing to
    /// change.
    async fn compared(
        &self,
        purpose: Purpose,
        template_key: &str,
        set_name: &str,
    ) -> Result<Option<(String, Vec<Change>)>> {
        let stack = self.names.stack();
        let work = self.host.begin(Step::CompareStack, stack.clone());
        let template =
            TemplateSource { bucket: self.names.artifacts_bucket(), key: template_key.to_owned() };
        let tags = self.names.tags();
        let id = self.aws.create_change_set(&stack, purpose, &template, &tags, set_name).await?;
        match self.watch().change_set(&id).await? {
            ChangeSetView::Ready(changes) => {
                work.done(Did::CompareStack { changes: changes.len() });
                Ok(Some((id, changes)))
            }
            ChangeSetView::NoChange => {
                self.aws.delete_change_set(&id).await?;
                work.done(Did::CompareStack { changes: 0 });
                Ok(None)
            }
            ChangeSetView::Failed { reason, details } => {
                let details: Vec<String> = details.iter().map(|d| format!("\n  {d}")).collect();
                bail!("CloudFormation refused the template: {reason}{}", details.concat())
            }
            ChangeSetView::Pending => bail!("the change set was not ready in time"),
        }
    }

    /// Whether somebody agrees to what is told, in advance or now.
    pub fn agreed(&self, concerns: &[Concern]) -> bool {
        if concerns.is_empty() {
            return true;
        }
        for Concern(concern) in concerns {
            self.host.found(Finding::Concern { concern: concern.clone() });
        }
        let question = "Go on?";
        if self.yes {
            let (question, by) = (question.to_owned(), Answerer::Option);
            self.host.tell(Event::Question { question, agreed: true, by });
            return true;
        }
        let agreed = self.host.ask(question);
        if !agreed {
            self.host.found(Finding::NotAgreed);
        }
        agreed
    }

    /// Empties a bucket of which somebody has agreed to lose `agreed` objects; false when there are
    /// more by now, and nobody agrees to that.
    pub async fn empty(&self, bucket: &str, agreed: u64) -> Result<bool> {
        let work = self.host.begin(Step::EmptyBucket, bucket.to_owned());
        let keys = self.aws.keys(bucket, "").await?;
        let objects = keys.len() as u64;
        let more =
            Concern(format!("{bucket} has {objects} objects by now, and all of them are lost"));
        if objects > agreed && !self.agreed(&[more]) {
            return Ok(false);
        }
        self.aws.delete_objects(bucket, &keys).await?;
        work.done(Did::EmptyBucket { bucket: bucket.to_owned(), objects });
        Ok(true)
    }

    fn judge(&self, view: &StackView) -> Changed {
        if view.status.is_deployed() {
            return Changed::Deployed;
        }
        if matches!(
            view.status,
            StackStatus::RollbackComplete | StackStatus::UpdateRollbackComplete
        ) {
            self.host.found(Finding::RolledBack);
            return Changed::RolledBack;
        }
        self.wedged(view, Doing::Change);
        self.host.fact(Fact::WayOut);
        Changed::Wedged
    }

    /// Tells that a stack is stuck.
    pub fn wedged(&self, view: &StackView, while_doing: Doing) {
        let reason = view.reason.clone().unwrap_or_default();
        self.host.found(Finding::Wedged { status: view.status, reason, while_doing });
    }

    /// Deletes the stack; the view of what is left, if it could not be deleted.
    pub async fn delete_stack(&self) -> Result<Option<StackView>> {
        let name = self.names.stack();
        let Some(stack) = self.aws.stack(&name).await? else { return Ok(None) };
        let work = self.host.begin(Step::DeleteStack, name.clone());
        let (mut rounds, mut deleted) = (0, 0);
        let resources = self.aws.stack_resources(&stack.id).await?;
        let total = resources.iter().filter(|r| r.status.is_made()).count() as u64;
        loop {
            let before = self.aws.newest_event(&stack.id).await?;
            self.aws.delete_stack(&stack.id, &token("delete")).await?;
            let told = (&work, total);
            let ended = self.watch().follow(&stack.id, Whose::Ours { before }, told).await?;
            deleted += ended.resources;
            let Some(left) = ended.stack.filter(|s| s.status != StackStatus::DeleteComplete) else {
                work.done(Did::DeleteStack { stack: name, resources: deleted });
                return Ok(None);
            };
            rounds += 1;
            let freed = rounds <= ROUNDS_MAX
                && (self.emptied_again(&left).await? | self.freed_network(&left).await?);
            if !freed {
                return Ok(Some(left));
            }
        }
    }

    /// Empties a bucket into which something was written after it had been emptied: a job that was
    /// stopped may still end its last write. Says whether there was anything.
    async fn emptied_again(&self, left: &StackView) -> Result<bool> {
        let blocked = |kind: &str| kind == "AWS::S3::Bucket";
        let bucket = self.names.data_bucket();
        if !self.keeps(left, blocked).await? || self.aws.keys(&bucket, "").await?.is_empty() {
            return Ok(false);
        }
        self.empty(&bucket, 0).await
    }

    /// Whether resources of such a type keep the stack from being deleted.
    async fn keeps(&self, left: &StackView, is_kind: impl Fn(&str) -> bool) -> Result<bool> {
        if left.status != StackStatus::DeleteFailed {
            return Ok(false);
        }
        let resources = self.aws.stack_resources(&left.id).await?;
        let failed = resources.iter().filter(|r| r.status == ResourceStatus::DeleteFailed);
        Ok(failed.into_iter().any(|r| is_kind(&r.resource_type)))
    }

    /// Deletes the interfaces that keep a network from being deleted: Lambda leaves them when the
    /// role of a function is deleted before they are. Says whether there were any.
    async fn freed_network(&self, left: &StackView) -> Result<bool> {
        let in_network =
            |kind: &str| matches!(kind, "AWS::EC2::Subnet" | "AWS::EC2::SecurityGroup");
        if !self.keeps(left, in_network).await? {
            return Ok(false);
        }
        let work = self.host.begin(Step::FreeNetwork, None);
        let functions = self.made().functions;
        let (began, mut deleted) = (Instant::now(), 0);
        loop {
            let (now, in_use) = self.aws.delete_interfaces_of(&functions).await?;
            deleted += now as u64;
            if in_use == 0 || began.elapsed() > INTERFACE_LIMIT {
                break;
            }
            self.host.fact(Fact::InterfacesInUse { interfaces: in_use as u64 });
            tokio::time::sleep(Pace::of(self.aws).longest * 10).await;
        }
        work.done(Did::FreeNetwork { interfaces: deleted });
        Ok(deleted > 0)
    }

    /// Continues a rollback that failed.
    pub async fn continue_rollback(&self) -> Result<()> {
        let stack = self.aws.stack(&self.names.stack()).await?.context("the stack vanished")?;
        let work = self.host.begin(Step::ContinueRollback, None);
        let before = self.aws.newest_event(&stack.id).await?;
        self.aws.continue_rollback(&stack.id, &token("continue")).await?;
        self.watch().follow(&stack.id, Whose::Ours { before }, (&work, 0)).await?;
        work.done(Did::ContinueRollback);
        Ok(())
    }

    /// Waits for the end of an operation that somebody else, or an earlier command, began.
    pub async fn attach(&self, status: StackStatus) -> Result<()> {
        self.host.fact(Fact::StackBusy { status });
        let Some(stack) = self.aws.stack(&self.names.stack()).await? else { return Ok(()) };
        let work = self.host.begin(Step::AwaitStack, None);
        self.watch().follow(&stack.id, Whose::Somebodys, (&work, 0)).await?;
        work.done(Did::AwaitStack);
        Ok(())
    }
}

/// A token by which CloudFormation knows a repeated request.
fn token(verb: &str) -> String {
    format!("steppe-{verb}-{}", jiff::Timestamp::now().as_millisecond())
}
