//! Searches for options: never worse, bounded, and the same after a stop.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use steppe_model::host::{Host, Quiet, Stage};
use steppe_model::rows::tuning::Journal;
use steppe_model::tabular::trials;
use steppe_model::trials::Trials;
use steppe_spec::Family;
use steppe_spec::tabular::{Objective, TabularKind, TabularSpec, Tune};

use crate::made::{only, spec, trained, trained_by, usual};

const TRIALS: usize = 6;

fn tuned(family: Family, change: impl FnOnce(&mut Tune)) -> TabularSpec {
    let mut tune = Tune { trials: TRIALS, ..Tune::default() };
    change(&mut tune);
    only(TabularKind::Classification, family).with(|s| {
        s.task.split.folds = 3;
        s.task.tune = Some(tune);
    })
}

#[test]
fn nothing_worse_than_the_manifests_options_is_taken() {
    let data = usual(600, 1);
    for family in [Family::Logistic, Family::GradientBoosting, Family::RandomForest] {
        let spec = tuned(family, |_| {}).with(|s| {
            // A poor start, so that there is something to find.
            s.task.model.boosting.learning_rate = 0.9;
            s.task.model.forest.min_leaf = 1;
        });
        let run = trials::run(&data, &spec, &Stage::new(&Quiet)).expect("runs");
        let tuning = run.tuning.as_ref().expect("a search");
        let trials = &tuning.journal.trials;
        let best = tuning.journal.best().and_then(|trial| trial.loss()).expect("complete");
        assert!(trials.len() == TRIALS && best <= trials[0].loss().expect("the first one"));
        if let Some((before, after)) = tuning.validation {
            assert_eq!(tuning.taken, after < before, "{family:?}");
        }
        let served = run.served(run.chosen());
        assert_eq!((served.family, served.spec != spec), (family, tuning.taken));
        assert!(tuning.taken || family != Family::GradientBoosting, "0.9 is a poor rate");
    }
}

#[test]
fn what_a_search_finds_does_not_choose_the_family() {
    let data = usual(600, 1);
    let plain = spec(TabularKind::Classification).with(|s| {
        s.task.split.folds = 3;
        // So poor that another family is chosen, and so much better after a search.
        s.task.model.boosting.learning_rate = 0.9;
    });
    let tune = Tune { trials: TRIALS, ..Tune::default() };
    let searched = trained(&data, &plain.clone().with(|s| s.task.tune = Some(tune)));
    let plain = trained(&data, &plain);
    assert_eq!(searched.card.family, plain.card.family);
    assert_eq!(searched.card.section.candidates, plain.card.section.candidates);
    let tuning = searched.card.section.tuning.expect("a search");
    assert_eq!(tuning.family, plain.card.family, "no other one is searched");
}

#[test]
fn where_the_manifests_options_are_the_best_the_model_is_theirs() {
    let data = usual(600, 1);
    // The first trial has the manifest's options, which give products no penalty of their own.
    let tuned = trained(&data, &tuned(Family::Logistic, |tune| tune.trials = 1));
    let tuning = tuned.card.section.tuning.as_ref().expect("a search");
    let names = tuning.journal.search.parameters.iter().map(|parameter| parameter.name.as_str());
    assert_eq!(names.collect::<Vec<_>>(), ["l2", "products_l2"]);
    assert!(!tuning.taken && tuning.validation.is_none(), "{tuning:?}");
    let plain = only(TabularKind::Classification, Family::Logistic);
    let plain = trained(&data, &plain.with(|spec| spec.task.split.folds = 3));
    assert_eq!(tuned.weights_bytes, plain.weights_bytes);
}

#[test]
fn what_was_found_is_what_is_served_and_told() {
    let spec = tuned(Family::GradientBoosting, |_| {}).with(|s| {
        s.task.model.boosting.learning_rate = 0.9;
        s.task.model.boosting.rounds = 150;
    });
    let artifact = trained(&usual(600, 1), &spec);
    let section = &artifact.card.section;
    let tuning = section.tuning.as_ref().expect("a search");
    assert!(tuning.taken);
    let best = tuning.journal.best().expect("some");
    let text = artifact.card.to_text("v");
    let consists =
        format!("gradient-boosting ({} trees, depth {})", best.values[0], best.values[1]);
    assert!(text.contains(&consists), "{text}");
    assert!(text.contains("gradient-boosting, 6 trials: taken: "), "{text}");
    assert_eq!(artifact.card.spec, spec, "the configuration stays what was asked for");
}

/// Keeps what it is given, and breaks down after some checkpoints.
struct Fragile {
    kept: Mutex<BTreeMap<String, Vec<u8>>>,
    left: AtomicU64,
}

impl Fragile {
    /// What was kept, even if it broke down while it was keeping.
    fn kept(&self) -> BTreeMap<String, Vec<u8>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Host for Fragile {
    fn load(&self, key: &str) -> Option<Vec<u8>> {
        self.kept().remove(key)
    }

    fn save(&self, key: &str, bytes: &[u8]) {
        self.kept.lock().expect("not poisoned").insert(key.to_owned(), bytes.to_vec());
        let left = self.left.fetch_sub(1, Ordering::Relaxed);
        assert!(left > 1, "the machine was taken away");
    }
}

#[test]
fn a_search_goes_on_where_it_was_stopped() {
    let (data, spec) = (usual(400, 2), tuned(Family::Logistic, |_| {}));
    let whole = trained(&data, &spec);
    let fragile = Fragile { kept: Mutex::default(), left: AtomicU64::new(3) };
    let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        trained_by(&data, &spec, &fragile);
    }));
    assert!(stopped.is_err());
    let fragile = Fragile { kept: Mutex::new(fragile.kept()), left: AtomicU64::new(99) };
    let kept: Journal =
        serde_json::from_slice(&fragile.kept()["tune-logistic.json"]).expect("a journal");
    assert_eq!(kept.trials.len(), 3);
    let resumed = trained_by(&data, &spec, &fragile);
    assert_eq!(resumed.card_bytes, whole.card_bytes);
    let saves = 99 - fragile.left.load(Ordering::Relaxed);
    assert_eq!(saves, TRIALS as u64 - 3, "only what was left is tried");
    // What is no journal of this search is not gone on from.
    let other = BTreeMap::from([("tune-logistic.json".to_owned(), b"{}".to_vec())]);
    let fragile = Fragile { kept: Mutex::new(other), left: AtomicU64::new(99) };
    assert_eq!(trained_by(&data, &spec, &fragile).card_bytes, whole.card_bytes);
}

/// A clock that goes on by a minute whenever it is read.
#[derive(Default)]
struct Minutes {
    read: AtomicU64,
    planned: AtomicU64,
    done: AtomicU64,
}

impl Host for Minutes {
    fn elapsed(&self) -> Duration {
        Duration::from_secs(60 * (self.read.fetch_add(1, Ordering::Relaxed) + 1))
    }

    fn plan(&self, units: u64) {
        self.planned.fetch_add(units, Ordering::Relaxed);
    }

    fn advance(&self, units: u64) {
        self.done.fetch_add(units, Ordering::Relaxed);
    }
}

#[test]
fn minutes_bound_a_search() {
    let spec = tuned(Family::Logistic, |tune| {
        (tune.trials, tune.minutes) = (50, Some(4));
    });
    let clock = Minutes::default();
    let artifact = trained_by(&usual(400, 3), &spec, &clock);
    let tuning = artifact.card.section.tuning.expect("a search");
    let trials = tuning.journal.trials.len();
    assert!((2..=4).contains(&trials), "{trials}");
    let (planned, done) = (clock.planned.into_inner(), clock.done.into_inner());
    assert_eq!(planned, done, "what there is no time for is not waited for");
}

#[test]
fn an_objective_that_is_no_proper_score_is_told() {
    let data = usual(400, 4);
    let text = |objective| {
        let spec = tuned(Family::Logistic, |tune| tune.objective = Some(objective));
        trained(&data, &spec).card.to_text("v")
    };
    let note = "the objective is no proper score";
    assert!(text(Objective::AucPr).contains(note));
    assert!(text(Objective::RocAuc).contains(note));
    assert!(!text(Objective::Brier).contains(note));
}
