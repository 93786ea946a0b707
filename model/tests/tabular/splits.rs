//! Which rows are for what, and what changes with them.

use steppe_model::host::{Quiet, Stage};
use steppe_model::rows::calibration::Calibration;
use steppe_model::rows::table::{Column, Table};
use steppe_model::tabular::data::{Rows, Target};
use steppe_model::tabular::evaluation::evaluate;
use steppe_model::tabular::section::Section;
use steppe_model::tabular::sets::Sets;
use steppe_model::tabular::trials;
use steppe_spec::tabular::{SplitKind, TabularKind, TabularSpec, Tune};

use crate::made::{spec, usual};

fn classification() -> TabularSpec {
    spec(TabularKind::Classification)
}

fn sets(data: &Rows, change: impl FnOnce(&mut TabularSpec)) -> Sets {
    Sets::of(data, &classification().with(change)).expect("sets")
}

#[test]
fn parts_have_their_shares_and_folds_ask_every_row_once() {
    let data = usual(500, 1);
    let sets = sets(&data, |s| s.task.split.repeats = Some(2));
    assert_eq!(sets.kind, SplitKind::Stratified);
    for (part, share) in [(&sets.train, 300), (&sets.validation, 100), (&sets.test, 100)] {
        assert!(part.len().abs_diff(share) <= 1, "{}", part.len());
        let ones = part.iter().filter(|row| data.target().classes()[**row] == 1).count();
        let all = data.target().classes().iter().sum::<usize>();
        assert!((ones * 500).abs_diff(all * share) <= 500, "{ones} of {all}");
    }
    assert_eq!((sets.folds.len(), sets.folds_a_repeat), (10, 5));
    assert!(sets.test.iter().all(|row| !sets.rest.contains(row)));
    for folds in sets.folds.chunks(5) {
        let mut asked: Vec<usize> = folds.iter().flat_map(|fold| fold.test.clone()).collect();
        asked.sort_unstable();
        assert_eq!(asked, (0..sets.rest.len()).collect::<Vec<_>>());
    }
    assert_ne!(sets.folds[..5], sets.folds[5..]);
}

#[test]
fn by_time_the_newest_rows_are_kept_and_folds_learn_from_older_ones() {
    let mut data = usual(500, 2);
    let times: Vec<i64> = (0..500).map(|row| row * 7_919 % 500 / 3).collect();
    data.times = Some(times.clone());
    let sets = sets(&data, |_| {});
    assert_eq!(sets.kind, SplitKind::Chronological);
    let range = |rows: &[usize]| {
        let times = rows.iter().map(|row| times[*row]);
        (times.clone().min().expect("rows"), times.max().expect("rows"))
    };
    assert!(range(&sets.train).1 < range(&sets.validation).0);
    assert!(range(&sets.validation).1 < range(&sets.test).0);
    let at = |places: &[usize]| places.iter().map(|at| sets.rest[*at]).collect::<Vec<_>>();
    for fold in &sets.folds {
        assert!(range(&at(&fold.train)).1 < range(&at(&fold.test)).0);
    }
}

#[test]
fn a_group_is_never_on_both_sides() {
    let mut data = usual(500, 3);
    let groups: Vec<usize> = (0..500).map(|row| row * row % 83).collect();
    data.entities = Some(groups.iter().map(|group| format!("p{group}")).collect());
    data.groups = Some(groups.clone());
    let spec = classification().with(|s| s.task.split.repeats = Some(3));
    let sets = Sets::of(&data, &spec).expect("sets");
    assert_eq!(sets.kind, SplitKind::Group);
    let apart = |one: &[usize], other: &[usize]| {
        let other: Vec<usize> = other.iter().map(|row| groups[*row]).collect();
        one.iter().all(|row| !other.contains(&groups[*row]))
    };
    assert!(apart(&sets.rest, &sets.test) && apart(&sets.train, &sets.validation));
    let at = |places: &[usize]| places.iter().map(|at| sets.rest[*at]).collect::<Vec<_>>();
    assert!(sets.folds.iter().all(|fold| apart(&at(&fold.train), &at(&fold.test))));
    let of_search = sets.of_search(&data, &spec).expect("folds");
    let at = |places: &[usize]| places.iter().map(|at| sets.train[*at]).collect::<Vec<_>>();
    assert!(of_search.iter().all(|fold| apart(&at(&fold.train), &at(&fold.test))));
}

/// The same rows with other targets in some of them.
fn other_targets(data: &Rows, rows: &[usize]) -> Rows {
    let mut other = data.clone();
    if let Some(Target::Classes { codes, .. }) = &mut other.target {
        rows.iter().for_each(|row| codes[*row] = 1 - codes[*row]);
    }
    other
}

/// By time, so that targets do not decide who is in which part.
fn dated() -> (Rows, TabularSpec) {
    let mut data = usual(400, 4);
    data.times = Some((0..400).collect());
    let tune = Some(Tune { trials: 2, ..Tune::default() });
    (data, classification().with(|s| s.task.tune = tune))
}

#[test]
fn rows_that_are_kept_choose_nothing() {
    let (data, spec) = dated();
    let stage = Stage::new(&Quiet);
    let kept = Sets::of(&data, &spec).expect("sets").test;
    let other = other_targets(&data, &kept);
    let section = |data: &Rows| {
        let run = trials::run(data, &spec, &stage).expect("runs");
        Section::of(data, &spec, &run).expect("a section")
    };
    let (one, mut two) = (section(&data), section(&other));
    assert_ne!(one.test, two.test, "they are what is asked");
    // What is told of the data as such is of all rows.
    two.test.clone_from(&one.test);
    (two.data, two.target) = (one.data.clone(), one.target.clone());
    assert_eq!(one, two, "nothing else knows them");
    let told = |data: &Rows| {
        let mut told = evaluate(data, &spec, &stage).expect("evaluates");
        assert_eq!(told.section.test, None);
        (told.section.data, told.section.target) = (one.data.clone(), one.target.clone());
        told
    };
    assert_eq!(told(&data), told(&other));
}

#[test]
fn rows_that_are_asked_about_change_no_answer_about_others() {
    let (data, spec) = dated();
    let spec = spec.with(|s| s.task.tune = None);
    let stage = Stage::new(&Quiet);
    let run = trials::run(&data, &spec, &stage).expect("runs");
    let rows = |fold: usize| {
        let asked = run.asked.iter().zip(&run.fold_of[0]);
        asked.filter(|(_, of)| **of == fold).map(|(row, _)| *row).collect::<Vec<_>>()
    };
    let last = rows(4);
    let mut other = other_targets(&data, &last);
    let mut table = Table::new(400);
    for (name, column) in data.table.columns() {
        let mut column = column.clone();
        if let Column::Number(values) = &mut column {
            last.iter().for_each(|row| values[*row] = 900.0 - 3.0 * values[*row]);
        }
        table.push(name, column).expect("a column");
    }
    other.table = table;
    let scrambled = trials::run(&other, &spec, &stage).expect("runs");
    let targets = other_targets(&data, &last);
    let relabelled = trials::run(&targets, &spec, &stage).expect("runs");
    let mut compared = 0;
    let others = scrambled.entrants.iter().zip(&relabelled.entrants);
    for (one, (two, three)) in run.entrants.iter().zip(others) {
        // A map is fitted on answers about other folds, of which this is one.
        if [one, two, three].iter().any(|entrant| entrant.maps != [Calibration::None]) {
            continue;
        }
        compared += 1;
        for (place, row) in run.asked.iter().enumerate() {
            let (a, b) = (one.answers[0].row(place), two.answers[0].row(place));
            assert!(last.contains(row) || a == b, "{:?} of row {row}", one.family);
            assert_eq!(a, three.answers[0].row(place), "{:?} of row {row}", one.family);
        }
    }
    assert!(compared >= 2, "{compared} families stay as they are");
}
