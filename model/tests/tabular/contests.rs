//! Champion and challenger.

use steppe_model::contest::{Retrained, retrain};
use steppe_model::host::{Quiet, Stage};
use steppe_model::tabular::data::Rows;
use steppe_model::tabular::{Artifact, Tabular};
use steppe_spec::Family;
use steppe_spec::tabular::{TabularKind, TabularSpec};
use steppe_wire::registry::Basis;

use crate::made::{only, trained, usual};

const CLASSES: TabularKind = TabularKind::Classification;

fn against(data: &Rows, spec: &TabularSpec, champion: &Artifact) -> Retrained<Tabular> {
    retrain::<Tabular>(data, spec, Some(champion), &Stage::new(&Quiet)).expect("trains")
}

#[test]
fn only_rows_that_the_champion_has_not_seen_count() {
    let all = usual(1_200, 1);
    let spec = only(CLASSES, Family::Logistic);
    let champion = trained(&all.select(&(0..800).collect::<Vec<_>>()), &spec);
    let contest = against(&all, &spec, &champion).contest.expect("compared");
    assert_eq!(contest.basis, Basis::NewPeriods);
    // Of a hundred new ones about one counts as seen.
    assert!((385..=400).contains(&contest.cases), "{}", contest.cases);
    assert!(contest.p_value.is_some());
}

/// By time the newest rows are those that are kept for the end.
#[test]
fn the_newest_rows_count_where_rows_are_told_apart_by_time() {
    let mut all = usual(1_000, 7);
    all.times = Some((0..1_000).map(|day| day * 86_400_000_000).collect());
    let spec = only(CLASSES, Family::Logistic);
    let champion = trained(&all.select(&(0..900).collect::<Vec<_>>()), &spec);
    let contest = against(&all, &spec, &champion).contest.expect("compared");
    assert!((95..=100).contains(&contest.cases), "{}", contest.cases);
}

#[test]
fn on_the_same_rows_there_is_nothing_to_compare() {
    let data = usual(600, 2);
    let spec = only(CLASSES, Family::Logistic);
    let again = against(&data, &spec, &trained(&data, &spec));
    assert!(!again.better && again.contest.is_none());
    let reason =
        "nothing to compare on: there is no row that neither model has seen since 600 rows";
    assert_eq!(again.reason, reason);
}

#[test]
fn another_configuration_is_judged_on_the_same_rows() {
    let data = usual(1_500, 3);
    let (poor, good) = (only(CLASSES, Family::Prior), only(CLASSES, Family::Logistic));
    let better = against(&data, &good, &trained(&data, &poor));
    let contest = better.contest.as_ref().expect("compared");
    assert_eq!((contest.basis, contest.cases), (Basis::Configurations, 1_200));
    assert!(better.better && contest.p_value.is_some_and(|p| p < 0.01), "{}", better.reason);
    let worse = against(&data, &poor, &trained(&data, &good));
    assert!(!worse.better, "{}", worse.reason);
}

#[test]
fn what_differs_by_chance_alone_is_no_sure_win() {
    let mut sure = 0;
    for seed in 0..5 {
        let data = usual(600, 10 + seed);
        let spec = only(CLASSES, Family::GradientBoosting);
        let other = spec.clone().with(|s| s.task.model.seed = 2);
        let retrained = against(&data, &other, &trained(&data, &spec));
        let p = retrained.contest.expect("compared").p_value.expect("many rows");
        sure += usize::from(retrained.better && p < 0.05);
    }
    assert!(sure <= 1, "{sure} of 5");
}

#[test]
fn a_champion_that_the_world_has_left_behind_is_replaced() {
    let spec = only(CLASSES, Family::Logistic);
    let then = usual(800, 4);
    let champion = trained(&then, &spec);
    // What was a risk is none any more: in new rows it happens to the others.
    let mut now = usual(1_600, 5);
    if let Some(steppe_model::tabular::data::Target::Classes { codes, .. }) = &mut now.target {
        codes.iter_mut().for_each(|code| *code = 1 - *code);
    }
    let retrained = against(&now, &spec, &champion);
    assert!(retrained.better, "{}", retrained.reason);
    let contest = retrained.contest.expect("compared");
    assert_eq!(contest.basis, Basis::NewPeriods);
    assert!(contest.p_value.is_some_and(|p| p < 0.01));
}
