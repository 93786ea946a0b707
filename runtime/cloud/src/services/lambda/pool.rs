//! Processes of functions: which one takes an invocation, and how many there are.
//!
//! An account has 1,000 invocations at a time, as in AWS, and functions that reserve some of them
//! have these and no others. This machine has fewer processes: what is beyond them waits its turn,
//! in order, and no function takes the turns of all others. An idle process gives way to another
//! function's.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Invoked;
use super::environment::{Answer, Environment};
use super::versions::Target;
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
    flights: Arc<Mutex<Flights>>,
    processes: Arc<AtomicUsize>,
    reaping: AtomicBool,
}

/// Invocations that go on.
#[derive(Debug, Default)]
struct Flights {
    /// Of each function.
    by_function: HashMap<String, u64>,
    /// Of all functions that reserve none.
    unreserved: u64,
    /// What functions reserve together.
    reserved: u64,
}

/// A place among the invocations.
struct Place {
    flights: Arc<Mutex<Flights>>,
    function: String,
    reserved: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        if !self.reserved {
            flights.unreserved = flights.unreserved.saturating_sub(1);
        }
        let left = flights.by_function.get_mut(&self.function).map(|count| {
            *count -= 1;
            *count
        });
        if left == Some(0) {
            flights.by_function.remove(&self.function);
        }
    }
}

fn too_many(reason: &str) -> ApiError {
    ApiError::new("TooManyRequestsException", "Rate Exceeded.")
        .with_status(429)
        .with("Reason", reason.into())
        .with("Type", "User".into())
}

/// What is said when all invocations of the account are taken.
const OF_ACCOUNT: &str = "ConcurrentInvocationLimitExceeded";

impl Environments {
    /// None yet; functions reserve so many invocations together.
    pub fn new(limits: Limits, reserved: u64) -> Self {
        Self {
            limits,
            idle: Mutex::default(),
            functions: Mutex::default(),
            turns: Arc::new(Semaphore::new(limits.processes)),
            flights: Arc::new(Mutex::new(Flights { reserved, ..Flights::default() })),
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

    /// Changes what one function reserves.
    pub fn reserve(&self, former: Option<u64>, wanted: Option<u64>) {
        let mut flights = self.flights.lock();
        let others = flights.reserved.saturating_sub(former.unwrap_or_default());
        flights.reserved = others + wanted.unwrap_or_default();
    }

    /// Stops all idle processes of a function that is deleted, and gives back what it reserved.
    pub fn forget(&self, function: &str, reserved: Option<u64>) {
        self.retire(function);
        self.reserve(reserved, None);
    }

    fn place(&self, function: &str, reserved: Option<u64>) -> ApiResult<Place> {
        let all = self.limits.invocations as u64;
        let mut flights = self.flights.lock();
        let own = flights.by_function.get(function).copied().unwrap_or_default();
        match reserved {
            Some(most) if own >= most => {
                return Err(too_many("ReservedFunctionConcurrentInvocationLimitExceeded"));
            }
            None if flights.unreserved >= all.saturating_sub(flights.reserved) => {
                return Err(too_many(OF_ACCOUNT));
            }
            Some(_) => {}
            None => flights.unreserved += 1,
        }
        *flights.by_function.entry(function.to_owned()).or_default() += 1;
        let reserved = reserved.is_some();
        Ok(Place { flights: self.flights.clone(), function: function.to_owned(), reserved })
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
        let waited =
            tokio::time::timeout(TURN_LIMIT, both).await.map_err(|_| too_many(OF_ACCOUNT))?;
        waited.map_err(|closed: tokio::sync::AcquireError| ApiError::internal(closed))
    }

    /// The process that was used last and still can be.
    fn take_idle(&self, target: &Target) -> Option<Environment> {
        let mut idle = self.idle();
        let runs = |e: &Environment| e.name == target.name && e.version == target.version;
        while let Some(at) = idle.iter().rposition(runs) {
            let mut environment = idle.remove(at);
            if environment.fits(&target.function) {
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
        let function = cloud.services.lambda.version(&environment.name, &environment.version);
        if !function.is_some_and(|function| environment.fits(&function)) {
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

/// Invokes a function. The invocation goes on when the caller goes away, as in AWS; `id` is what
/// the function knows it by.
pub async fn invoke(
    cloud: &Arc<Cloud>,
    target: &Target,
    payload: Bytes,
    id: &str,
) -> ApiResult<Invoked> {
    let owner = cloud.services.lambda.functions.get(&target.name);
    let reserved = owner.and_then(|function| function.reserved);
    let place = cloud.services.lambda.environments.place(&target.name, reserved)?;
    let (cloud, target, id) = (cloud.clone(), target.clone(), id.to_owned());
    let invocation = tokio::spawn(async move {
        let _place = place;
        let invoked = take_turn(&cloud, &target, payload, &id).await;
        invoked.map(|invoked| Invoked { version: target.version, ..invoked })
    });
    invocation.await.map_err(ApiError::internal)?
}

async fn take_turn(
    cloud: &Arc<Cloud>,
    target: &Target,
    payload: Bytes,
    id: &str,
) -> ApiResult<Invoked> {
    let pool = &cloud.services.lambda.environments;
    let _turn = pool.turn(&target.name).await?;
    while let Some(mut environment) = pool.take_idle(target) {
        // A process that ended just now is replaced; one that was given the work is not.
        if let Answer::Done { invoked, reusable } =
            environment.invoke(cloud, target, payload.clone(), id).await
        {
            if reusable {
                pool.keep(cloud, environment);
            }
            return Ok(invoked);
        }
    }
    pool.make_room();
    let processes = pool.processes.clone();
    let mut environment = Environment::start(cloud, target, processes).await?;
    match environment.invoke(cloud, target, payload, id).await {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(place: ApiResult<Place>) -> String {
        let error = place.map(drop).expect_err("refused");
        error.more.expect("more")["Reason"].as_str().expect("a text").to_owned()
    }

    #[test]
    fn what_is_reserved_is_kept_and_not_more() {
        let limits = Limits { invocations: 5, ..Limits::default() };
        let pool = Environments::new(limits, 0);
        pool.reserve(None, Some(3));
        let reserved = || pool.place("reserved", Some(3));
        let kept: Vec<Place> = (0..3).map(|_| reserved().expect("a place")).collect();
        assert_eq!(reason(reserved()), "ReservedFunctionConcurrentInvocationLimitExceeded");
        let others: Vec<Place> = (0..2).map(|_| pool.place("f", None).expect("free")).collect();
        assert_eq!(reason(pool.place("g", None)), OF_ACCOUNT);
        drop(others);
        let free = pool.place("g", None).expect("a place");
        drop((kept, free));
        assert!(reserved().is_ok());
        assert_eq!(reason(pool.place("none", Some(0))), reason(pool.place("none", Some(0))));
        pool.forget("reserved", Some(3));
        let flights = pool.flights.lock();
        assert_eq!((flights.reserved, flights.unreserved, flights.by_function.len()), (0, 0, 0));
    }
}
