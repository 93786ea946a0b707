//! Broken inputs for everything in the embedded cloud that reads what others wrote: protocols,
//! templates, policies, patterns, definitions, expressions. No input may make it panic, take longer
//! than a second, or keep memory.
//!
//! Inputs are made of the seeds in `seeds/PARSER/`, which are kept: whatever was found once is one
//! of them. `STEPPE_FUZZ_INPUTS` says how many there are over all parsers (24,000),
//! `STEPPE_FUZZ_SEED` repeats a run.

#![expect(clippy::disallowed_macros, reason = "its report is the result")]

mod mutate;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use steppe_cloud::inputs::{PARSERS, Parser};

/// How long one input may take, on a loaded machine and without optimisation.
const LIMIT: Duration = Duration::from_secs(10);
/// By how much the process may grow over all inputs.
const GROWTH_KIB_MAX: u64 = 256 * 1024;
/// Inputs between two looks at the memory.
const LOOK_EVERY: u64 = 1_000;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |v| v.parse().expect("a number"))
}

/// The seeds of a parser.
fn seeds(parser: &Parser) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(parser.name);
    let entries = std::fs::read_dir(&folder);
    let mut files: Vec<_> = entries
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).expect("readable")).collect()
}

/// Memory of this process, as the system has it.
fn memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

/// What is being read at the moment, and since when.
#[derive(Default)]
struct Watch {
    input: Mutex<Option<(&'static str, Vec<u8>, Instant)>>,
    done: AtomicU64,
}

/// Ends the process when an input takes too long, and shows the input.
fn watch(shown: Arc<Watch>) {
    std::thread::spawn(move || {
        loop {
            std::thread::park_timeout(Duration::from_millis(500));
            let input = shown.input.lock().expect("no panic");
            if let Some((name, bytes, since)) = &*input
                && since.elapsed() > LIMIT
            {
                println!("{name} takes longer than {LIMIT:?} for {}", bytes.escape_ascii());
                std::process::exit(1);
            }
        }
    });
}

fn run(parser: &Parser, input: Vec<u8>, shown: &Watch) -> bool {
    *shown.input.lock().expect("no panic") = Some((parser.name, input.clone(), Instant::now()));
    let read = std::panic::catch_unwind(|| (parser.run)(&input));
    *shown.input.lock().expect("no panic") = None;
    shown.done.fetch_add(1, Ordering::Relaxed);
    read.unwrap_or_else(|_| panic!("{} panics for {}", parser.name, input.escape_ascii()))
}

#[test]
fn nothing_that_is_read_breaks_the_reader() {
    let inputs = setting("STEPPE_FUZZ_INPUTS", 24_000) / PARSERS.len() as u64;
    let seed = setting("STEPPE_FUZZ_SEED", 20_261_128);
    println!("{inputs} inputs for each parser; STEPPE_FUZZ_SEED={seed}");
    let shown = Arc::new(Watch::default());
    watch(shown.clone());
    for parser in PARSERS {
        let seeds = seeds(parser);
        for (n, good) in seeds.iter().enumerate() {
            assert!(run(parser, good.clone(), &shown), "seed {n} of {} is none", parser.name);
        }
        let mut random = fastrand::Rng::with_seed(seed);
        let (began, before) = (Instant::now(), memory_kib());
        let mut taken = 0_u64;
        for n in 0..inputs {
            let input = mutate::mutated(&seeds, &mut random);
            taken += u64::from(run(parser, input, &shown));
            if n % LOOK_EVERY == 0 {
                let grown = memory_kib().saturating_sub(before);
                assert!(grown < GROWTH_KIB_MAX, "{} keeps {grown} KiB", parser.name);
            }
        }
        let name = parser.name;
        println!("{name:<12} {taken:>8} of {inputs} taken, {:?}", began.elapsed());
    }
    println!("{} inputs", shown.done.load(Ordering::Relaxed));
}
