//! Whether service is what training was.

use steppe_model::drift::Tally;
use steppe_model::rows::table::{Column, Table};
use steppe_model::tabular::data::Rows;
use steppe_model::tabular::{Artifact, Asked, Tabular};
use steppe_model::task::Task;
use steppe_spec::Family;
use steppe_spec::tabular::TabularKind;

use crate::made::{Different, only, patients, rows, trained, usual};

/// Statistics that have drifted when a model is asked about these rows.
fn drifted(artifact: &Artifact, data: &Rows) -> Vec<String> {
    let reference = &artifact.card.reference;
    let mut tally = Tally::new(reference);
    let queries = rows(data);
    let answers = artifact.answer(&queries, Asked { reasons: false });
    for (query, answer) in queries.into_iter().zip(&answers) {
        let statistics = Tabular::statistics(artifact, query, answer);
        tally.add(reference, &statistics.expect("every row has some"));
    }
    let compared = tally.compare(reference).into_iter();
    compared.filter(|drift| drift.drifted).map(|drift| drift.statistic).collect()
}

fn new(rows: usize, seed: u64, different: Different) -> Rows {
    patients(rows, seed, different).0
}

#[test]
fn older_patients_are_found_and_the_same_ones_are_not() {
    for seed in 0..20 {
        let data = usual(600, seed);
        let artifact = trained(&data, &only(TabularKind::Classification, Family::Logistic));
        let mut rng = fastrand::Rng::with_seed(seed);
        let again: Vec<usize> = (0..600).map(|_| rng.usize(..600)).collect();
        assert_eq!(drifted(&artifact, &data.select(&again)), [""; 0], "seed {seed}");
        let same = new(600, 100 + seed, Different::default());
        assert_eq!(drifted(&artifact, &same), [""; 0], "seed {seed}");
        let older = new(600, 200 + seed, Different { older: 10.0, ..Different::default() });
        assert!(drifted(&artifact, &older).contains(&"age".to_owned()), "seed {seed}");
    }
}

#[test]
fn answers_about_rows_that_a_forest_has_learnt_are_no_measure_of_others() {
    for family in [Family::RandomForest, Family::GradientBoosting] {
        let artifact = trained(&usual(800, 1), &only(TabularKind::Classification, family));
        for seed in 0..5 {
            let same = new(500, 300 + seed, Different::default());
            assert_eq!(drifted(&artifact, &same), [""; 0], "{family:?}, seed {seed}");
        }
    }
}

#[test]
fn a_level_that_was_never_there_and_missing_values_are_found() {
    let artifact = trained(&usual(800, 2), &only(TabularKind::Classification, Family::Logistic));
    let vapes = new(500, 20, Different { vapes: 0.4, ..Different::default() });
    assert_eq!(drifted(&artifact, &vapes), ["smoking"]);
    let missing = new(500, 21, Different { missing: 0.4, ..Different::default() });
    assert!(drifted(&artifact, &missing).contains(&"glucose".to_owned()));
    // Of a truth value that is seldom true, too.
    let mut unknown = usual(500, 22);
    let mut rng = fastrand::Rng::with_seed(1);
    let mut heart = || (rng.f64() < 0.6).then(|| rng.f64() < 0.1);
    let heart: Vec<Option<bool>> = (0..500).map(|_| heart()).collect();
    let mut table = Table::new(500);
    for (name, column) in unknown.table.columns() {
        let column = if name == "heart" { Column::Boolean(heart.clone()) } else { column.clone() };
        table.push(name, column).expect("a column");
    }
    unknown.table = table;
    assert!(drifted(&artifact, &unknown).contains(&"heart".to_owned()));
}
