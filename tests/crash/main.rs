//! The embedded cloud is killed under load, again and again. After each restart nothing that was
//! acknowledged may be lost, everything that was under way resumes or ends, and no process, port
//! or file is left.
//!
//! `STEPPE_CRASH_ROUNDS` says how often (5), `STEPPE_CRASH_SEED` repeats a run.

#![expect(clippy::disallowed_macros, reason = "its report is the result")]

mod cloud;
mod objects;
#[path = "../all/signature.rs"]
mod signature;
#[path = "../all/signed_client.rs"]
mod signed;
mod work;

use std::time::{Duration, Instant};

use crate::cloud::Served;
use crate::objects::Objects;
use crate::work::Work;

/// Writers of objects at a time.
const WRITERS: usize = 3;
/// Others who start work at a time.
const STARTERS: usize = 2;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |v| v.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_is_left() {
    let rounds = setting("STEPPE_CRASH_ROUNDS", 5);
    let seed = setting("STEPPE_CRASH_SEED", u64::from(std::process::id()));
    println!("{rounds} rounds; STEPPE_CRASH_SEED={seed} repeats them");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut cloud = Served::new();
    let began = Instant::now();
    cloud.start().await;
    let mut objects: Vec<Objects> = (0..WRITERS).map(|n| Objects::new(n, random.fork())).collect();
    let mut work: Vec<Work> = (0..STARTERS).map(|n| Work::new(n, random.fork())).collect();
    work::prepare(&cloud.client()).await;
    for round in 1..=rounds {
        let load = Duration::from_millis(random.u64(20..600));
        let client = cloud.client();
        let stop = tokio::time::Instant::now() + load;
        let writers = objects.iter_mut().map(|o| o.load(&client, stop));
        let starters = work.iter_mut().map(|w| w.load(&client, stop));
        let killer = async {
            tokio::time::sleep_until(stop).await;
            cloud.kill();
        };
        tokio::join!(
            futures::future::join_all(writers),
            futures::future::join_all(starters),
            killer
        );
        cloud.start().await;
        let client = cloud.client();
        for objects in &mut objects {
            objects.check(&client).await;
        }
        for work in &mut work {
            work.check(&client).await;
        }
        work::no_more_than_known(&client, &work).await;
        cloud.check_files(&client).await;
        if round % 20 == 0 {
            println!("{round} rounds in {:.0} s", began.elapsed().as_secs_f64());
        }
    }
    let done: usize = objects.iter().map(|o| o.acknowledged).sum();
    let started: usize = work.iter().map(|w| w.acknowledged).sum();
    println!(
        "{rounds} kills in {:.0} s: {done} changes of objects and {started} pieces of work were \
         acknowledged",
        began.elapsed().as_secs_f64()
    );
    assert!(done > 0 && started > 0, "there was no load");
    work::tidy_up(&cloud.client(), &mut work).await;
    cloud.stop_and_check();
}
