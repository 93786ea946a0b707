//! Follows operations on a stack until they end, and tells what happens to each resource.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use steppe_aws::{Aws, AwsError, ChangeSetView, EventView, Kind, StackView};
use steppe_plan::events::{Event, Fact, Resource, Unit};
use steppe_plan::names::Names;
use steppe_plan::status::Happened;
use steppe_wire::hint::{Hinted, parts};

use crate::hint::{OrHint, tells_of_a_full_disk};
use crate::host::{Host, Work};
use crate::interrupt::UnderWay;
use crate::local::LocalCloud;

/// Longest time of an operation on a stack.
const OPERATION_LIMIT: Duration = Duration::from_secs(60 * 60);
/// Longest time in which a stack may show no sign of an operation that was begun.
const SIGN_LIMIT: Duration = Duration::from_secs(3 * 60);

/// How often a cloud is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The first pause.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
    /// Failed looks in a row before the watch is given up.
    failures_max: u32,
}

impl Pace {
    /// A process on this machine, which nobody else asks.
    const NEAR: Self =
        Self { first: Duration::from_millis(40), longest: Duration::from_secs(3), failures_max: 3 };
    /// A service that throttles a whole account.
    const FAR: Self = Self {
        first: Duration::from_millis(1_500),
        longest: Duration::from_secs(5),
        failures_max: 20,
    };

    /// The pace for whoever is spoken to.
    pub fn of(aws: &Aws) -> Self {
        if aws.is_near() { Self::NEAR } else { Self::FAR }
    }
}

/// Whose operation is followed.
pub enum Whose {
    /// Ours; the newest event before it was begun.
    Ours {
        /// Its ID.
        before: Option<String>,
    },
    /// Somebody else's, or one of an earlier command.
    Somebodys,
}

/// What was told of an operation.
#[derive(Default)]
struct Told {
    /// When each resource's work began.
    begun: HashMap<String, f64>,
    /// Resources that something has come to an end with.
    ended: BTreeSet<String>,
    /// Whether something failed because a disk is full.
    full: bool,
}

/// How an operation ended.
pub struct Ended {
    /// The stack; `None` when it is gone.
    pub stack: Option<StackView>,
    /// Resources that something was done with.
    pub resources: u64,
}

/// What watches the stack of a deployment.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Calls.
    pub aws: &'a Aws,
    /// Names.
    pub names: &'a Names,
    /// Is told.
    pub host: &'a Host,
    /// The embedded cloud, when it is the one that is spoken to.
    pub local: Option<&'a LocalCloud>,
}

impl Watch<'_> {
    /// Waits until a change set is ready.
    pub async fn change_set(&self, id: &str) -> Result<ChangeSetView> {
        let pace = Pace::of(self.aws);
        let (started, mut pause, mut failures) = (Instant::now(), pace.first, 0);
        loop {
            match self.aws.change_set(id).await {
                Ok(ChangeSetView::Pending) if started.elapsed() < OPERATION_LIMIT => failures = 0,
                Ok(view) => return Ok(view),
                Err(error) if error.is_passing() => self.bear(error, &mut failures)?,
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(pace.longest);
        }
    }

    /// Follows a stack until nothing is in progress. Tells what happens to every resource, and of
    /// `work` how many of `total` resources are done.
    ///
    /// The verdict comes from the stack itself, but reads of it may be old: what it was before an
    /// operation of ours is no verdict. So a status counts when an event since then says the same.
    pub async fn follow(
        &self,
        stack: &str,
        whose: Whose,
        (work, total): (&Work, u64),
    ) -> Result<Ended> {
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
        let pace = Pace::of(self.aws);
        let (started, mut pause, mut failures) = (Instant::now(), pace.first, 0);
        let (mut told, mut said) = (Told::default(), None);
        loop {
            // Asked before the events, so that none is missed at the end.
            let view = self.aws.stack(stack).await;
            let events = self.aws.events_after(stack, seen.as_deref()).await;
            let view = match (view, events) {
                (Ok(view), Ok(events)) => {
                    failures = 0;
                    if !events.is_empty() {
                        pause = pace.first;
                        events.iter().for_each(|e| self.tell(e, &mut told));
                        let done = told.ended.len() as u64;
                        work.progress(done, total.max(done), Unit::Resources);
                    }
                    said = events.iter().rev().find_map(|e| e.stack_status).or(said);
                    seen = events.last().map(|e| e.id.clone()).or(seen);
                    view
                }
                (Ok(None), Err(error)) if error.is_not_found() => None,
                (Err(error), _) | (_, Err(error)) => {
                    self.bear(error, &mut failures)?;
                    tokio::time::sleep(pause).await;
                    continue;
                }
            };
            let resources = told.ended.len() as u64;
            let Some(view) = view else { return Ok(Ended { stack: None, resources }) };
            if !view.status.is_in_progress() && (!ours || said == Some(view.status)) {
                if told.full {
                    self.host.fact(Fact::DiskFull);
                }
                return Ok(Ended { stack: Some(view), resources });
            }
            if ours && said.is_none() && started.elapsed() > SIGN_LIMIT {
                bail!(no_sign(&view));
            }
            if started.elapsed() > OPERATION_LIMIT {
                bail!(Hinted::new(
                    "the operation took longer than an hour",
                    "it goes on in the cloud; repeat the command to attach to it",
                ));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(pace.longest);
        }
    }

    /// Bears a failed look, unless there were too many, or nobody is there to look at any more.
    fn bear(&self, error: AwsError, failures: &mut u32) -> Result<()> {
        *failures += 1;
        let hopeless = matches!(error.kind, Kind::Denied | Kind::Credentials);
        if self.local.is_some_and(|local| local.running().is_none()) {
            return Err(error).or_hint(|| {
                Hinted::new(
                    "the embedded cloud has ended while the stack was changed",
                    "`cargo xtask local start` starts it, and it goes on where it was; its log is \
                     `.steppe/local/cloud.log`",
                )
            });
        }
        if hopeless || *failures > Pace::of(self.aws).failures_max {
            return Err(error).or_hint(|| {
                Hinted::new(
                    "the stack cannot be watched any more",
                    "the operation goes on in the cloud; repeat the command to attach to it",
                )
            });
        }
        Ok(())
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
        let status = event.status.as_ref().ok().copied();
        let happened = status.map_or(Happened::Other, |status| status.happened());
        let seconds = if happened == Happened::Begun {
            told.begun.entry(event.logical_id.clone()).or_insert(event.time);
            None
        } else {
            told.ended.insert(event.logical_id.clone());
            told.begun.remove(&event.logical_id).map(|begun| (event.time - begun).max(0.0))
        };
        told.full |= event.reason.as_deref().is_some_and(tells_of_a_full_disk);
        let (reason, hints) = event.reason.as_deref().map(parts).unzip();
        self.host.tell(Event::Resource(Resource {
            logical_id: event.logical_id.clone(),
            resource_type: event.resource_type.clone(),
            happened,
            status,
            reason,
            hints: hints.unwrap_or_default(),
            seconds,
        }));
    }
}

fn no_sign(view: &StackView) -> Hinted {
    Hinted::new(
        format!(
            "the stack shows no sign of the operation that was begun; it is in {}",
            view.status
        ),
        "`cargo xtask status` shows it; repeat the command",
    )
}
