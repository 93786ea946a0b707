//! Processes of functions: which one takes an invocation, and how many there are.
//!
//! An account has 1,000 invocations at a time, as in AWS. This machine has fewer processes: what is
//! beyond them waits its turn, in order, and no function takes the turns of all others. An idle
//! process gives way to another function's.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::environment::{Answer, Environment};
use super::{Function, Invoked};
use crate::kernel::cloud::{Cloud, Limits};
use crate::kernel::error::{ApiError, ApiResult};

/// Invocations of one function that run at a time.
const FUNCTION_PROCESSES_MAX: usize = 32;
/// How long a process may wait for its next invocation.
const IDLE_MAX: Duration = Duration::from_secs(5 * 60);
/// How often idle processes are looked at.
const IDLE_CHECK: Duration = Duration::from_secs(30);
/// Longest wait for a turn: as long as a function may run.
const TURN_LIMIT: Duration = Duration::from_secs(15 * 60);

/// The processes of one cloud's functions.
#[derive(Debug)]
pub struct Environments {
    limits: Limits,
    /// In the order of their last use.
    idle: Mutex<Vec<Environment>>,
    /// Turns of each function.
    functions: Mutex<HashMap<String, Arc<Semaphore>>>,
    /// Turns of all.
    turns: Arc<Semaphore>,
    invocations: Arc<AtomicUsize>,
    processes: Arc<AtomicUsize>,
    reaping: AtomicBool,
}

/// A place among the account's invocations.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn too_many() -> ApiError {
    ApiError::new("TooManyRequestsException", "Rate Exceeded.").with_status(429)
}

impl Environments {
    /// None yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            idle: Mutex::default(),
            functions: Mutex::default(),
            turns: Arc::new(Semaphore::new(limits.processes)),
            invocations: Arc::default(),
            processes: Arc::default(),
            reaping: AtomicBool::new(false),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Environment>> {
        self.idle.lock()
    }

    /// Stops all idle processes of a function.
    pub fn retire(&self, function: &str) {
        self.idle().retain(|e| e.name != function);
        self.functions.lock().remove(function);
    }

    /// Stops all idle processes.
    pub fn retire_all(&self) {
        self.idle().clear();
    }

    fn place(&self) -> ApiResult<Place> {
        let place = Place(self.invocations.clone());
        if self.invocations.fetch_add(1, Ordering::Relaxed) >= self.limits.invocations {
            return Err(too_many());
        }
        Ok(place)
    }

    /// Waits for a turn: first among the function's own invocations, then among all.
    async fn turn(&self, function: &str) -> ApiResult<[OwnedSemaphorePermit; 2]> {
        let own = {
            let mut functions = self.functions.lock();
            let new = || Arc::new(Semaphore::new(FUNCTION_PROCESSES_MAX));
            functions.entry(function.to_owned()).or_insert_with(new).clone()
        };
        let turns = self.turns.clone();
        let both = async move { Ok([own.acquire_owned().await?, turns.acquire_owned().await?]) };
        let waited = tokio::time::timeout(TURN_LIMIT, both).await.map_err(|_| too_many())?;
        waited.map_err(|closed: tokio::sync::AcquireError| ApiError::internal(closed))
    }

    /// The process that was used last and still can be.
    fn take_idle(&self, name: &str, function: &Function) -> Option<Environment> {
        let mut idle = self.idle();
        while let Some(at) = idle.iter().rposition(|e| e.name == name) {
            let mut environment = idle.remove(at);
            if environment.fits(name, function) {
                return Some(environment);
            }
        }
        None
    }

    /// Makes room for one more process. Whoever has a turn finds room: there are as many turns as
    /// processes, so when all places are taken, somebody is idle.
    fn make_room(&self) {
        let mut idle = self.idle();
        if self.processes.load(Ordering::Relaxed) >= self.limits.processes && !idle.is_empty() {
            drop(idle.remove(0));
        }
    }

    /// Keeps a process for the next invocation.
    fn keep(&self, cloud: &Arc<Cloud>, mut environment: Environment) {
        let function = cloud.services.lambda.functions.get(&environment.name);
        let name = environment.name.clone();
        if !function.is_some_and(|f| environment.fits(&name, &f)) {
            return;
        }
        self.idle().push(environment);
        if !self.reaping.swap(true, Ordering::AcqRel) {
            tokio::spawn(reap(cloud.clone()));
        }
    }

    /// Stops what has been idle for too long; whether anything is left.
    fn retire_idle(&self) -> bool {
        let mut idle = self.idle();
        idle.retain(|e| e.idle_for() < IDLE_MAX);
        if idle.is_empty() {
            self.reaping.store(false, Ordering::Release);
        }
        !idle.is_empty()
    }
}

async fn reap(cloud: Arc<Cloud>) {
    loop {
        tokio::time::sleep(IDLE_CHECK).await;
        if !cloud.services.lambda.environments.retire_idle() {
            return;
        }
    }
}

/// Invokes a function. The invocation goes on when the caller goes away, as in AWS.
pub async fn invoke(
    cloud: &Arc<Cloud>,
    name: &str,
    function: Arc<Function>,
    payload: Bytes,
) -> ApiResult<Invoked> {
    let place = cloud.services.lambda.environments.place()?;
    let (cloud, name) = (cloud.clone(), name.to_owned());
    let invocation = tokio::spawn(async move {
        let _place = place;
        take_turn(&cloud, &name, &function, payload).await
    });
    invocation.await.map_err(ApiError::internal)?
}

async fn take_turn(
    cloud: &Arc<Cloud>,
    name: &str,
    function: &Function,
    payload: Bytes,
) -> ApiResult<Invoked> {
    let pool = &cloud.services.lambda.environments;
    let _turn = pool.turn(name).await?;
    while let Some(mut environment) = pool.take_idle(name, function) {
        // A process that ended just now is replaced; one that was given the work is not.
        if let Answer::Done { invoked, reusable } =
            environment.invoke(cloud, function, payload.clone()).await
        {
            if reusable {
                pool.keep(cloud, environment);
            }
            return Ok(invoked);
        }
    }
    pool.make_room();
    let processes = pool.processes.clone();
    let mut environment = Environment::start(cloud, name, function, processes).await?;
    match environment.invoke(cloud, function, payload).await {
        Answer::Done { invoked, reusable } => {
            if reusable {
                pool.keep(cloud, environment);
            }
            Ok(invoked)
        }
        Answer::NotTaken => {
            let message = "the process ended before it took its first invocation";
            Ok(Invoked::failed(super::error_object("Runtime.ExitError", message)))
        }
    }
}
